package poolmap

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// SVGOptions change the drawing of SVG.
type SVGOptions struct {
	Title string // above the drawing; "" for "Data device"
	Width int    // the largest width in pixels, 720 to 4096; 0 for 1200
}

// Sizes in pixels.
const (
	svgWidth    = 1200
	minSVGWidth = 720
	maxSVGWidth = 4096
	margin      = 28
	cellWidth   = 8  // the smallest
	cellHeight  = 16 // also the number of steps to which a cell's shares are rounded
	rowPitch    = 19
	textPitch   = 19
	digit       = 7.2 // approximate width of a digit
)

// maxCells bounds the size of the file: a cell with a title and all paints takes 400 bytes.
const maxCells = 4096

// SVG writes m as an SVG file without scripts or fonts. The file has less than 2 MB for any
// device, and follows the reader's light or dark theme.
func SVG(w io.Writer, m Map, o SVGOptions) error {
	if err := m.validate(); err != nil {
		return err
	}
	f, err := m.figures()
	if err != nil {
		return err
	}
	if o.Width == 0 {
		o.Width = svgWidth
	}
	d := &drawing{Map: m, out: bufio.NewWriter(w), width: min(max(o.Width, minSVGWidth), maxSVGWidth)}
	d.fit()
	d.head(o.Title, f)
	d.scale()
	if err := d.rows(f); err != nil {
		return err
	}
	d.gaps()
	d.legend(f)
	fmt.Fprint(d.out, "</svg>\n")
	return d.out.Flush()
}

type drawing struct {
	Map
	out          *bufio.Writer
	width        int
	left, top    int // of the first cell
	cellWidth    int
	grid         grid
	legendTop    int
	legendSplit  int // columns of the legend
	legendHeight int
	legendEnds   [4]int // the right edges of a line's figures: size, bytes, share, runs
}

// fit chooses the grid. It uses the whole width, except for a device of few blocks, whose
// cells are larger.
func (d *drawing) fit() {
	for d.left = margin + 40; ; d.left += 8 {
		available := d.width - margin - d.left
		columns := roundDown(uint64(available / cellWidth))
		for columns > 16 && columns*columns/4 > d.Blocks {
			columns /= 2
		}
		d.grid = layout(d.Blocks, columns, maxCells/columns)
		d.cellWidth = min(available/int(columns), 4*cellWidth)
		longest := 0
		for row := range d.grid.rows {
			longest = max(longest, len(d.address(row)))
		}
		if margin+int(float64(longest)*digit)+10 <= d.left {
			break
		}
	}
	d.width = max(d.left+int(min(d.grid.columns, d.grid.cells(d.Blocks)))*d.cellWidth+margin, minSVGWidth)
	d.top = 116
	d.legendTop = d.top + int(d.grid.rows)*rowPitch + 30
}

func (d *drawing) address(row uint64) string {
	return address(d.size(row * d.grid.columns * d.grid.per))
}

func (d *drawing) head(title string, f figures) {
	if title == "" {
		title = "Data device"
	}
	title = clean(title)
	d.planLegend(f)
	parts := d.summary(f)
	summary := parts[0] + ": " + parts[1]
	height := d.legendTop + d.legendHeight + margin
	fmt.Fprintf(d.out, `<svg xmlns="http://www.w3.org/2000/svg" class="poolmap" role="img" `+
		`width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", d.width, height, d.width, height)
	fmt.Fprintf(d.out, "<title>%s</title>\n<desc>%s</desc>\n", escape(fit(title, 200, "…")), escape(summary))
	d.out.WriteString(style())
	fmt.Fprintf(d.out, `<rect class="page" width="%d" height="%d"/>`+"\n", d.width, height)
	d.text(margin, 44, "h", fit(title, (d.width-2*margin)/12, "…"))
	d.text(margin, 68, "", summary)
}

// scale writes the offsets of columns.
func (d *drawing) scale() {
	step := uint64(1)
	for int(step)*d.cellWidth < 110 {
		step *= 2
	}
	last := min(d.grid.columns, d.grid.cells(d.Blocks))
	d.out.WriteString(`<path class="tick" d="`)
	for column := uint64(0); column < last; column += step {
		fmt.Fprintf(d.out, "M%d.5 %dv8", d.left+int(column)*d.cellWidth, d.top-11)
	}
	d.out.WriteString("\"/>\n")
	for column := uint64(0); column < last; column += step {
		d.text(d.left+int(column)*d.cellWidth+4, d.top-5, "n", "+"+address(d.size(column*d.grid.per)))
	}
}

// gaps separates the cells if each is one block.
func (d *drawing) gaps() {
	if d.grid.per > 1 {
		return
	}
	d.out.WriteString(`<path class="gap" d="`)
	for column := 1; column < int(d.grid.columns); column++ {
		fmt.Fprintf(d.out, "M%d.5 %dv%d", d.left+column*d.cellWidth-1, d.top, int(d.grid.rows)*rowPitch)
	}
	d.out.WriteString("\"/>\n")
}

// style returns the style sheet with the paints and both themes. All selectors begin with
// the root's class, for pages that contain the drawing inline.
func style() string {
	var s strings.Builder
	theme := func(page, text, soft, line, free string) {
		fmt.Fprintf(&s, ".poolmap .page{fill:%s}.poolmap text{fill:%s}.poolmap .n{fill:%s}"+
			".poolmap .tick{stroke:%s}.poolmap .gap{stroke:%s}.poolmap .p%d{fill:%s}\n",
			page, text, soft, line, page, freePaint, free)
	}
	s.WriteString("<style>\n.poolmap text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;" +
		"font-variant-numeric:tabular-nums}\n" +
		".poolmap .h{font-size:22px;font-weight:600}.poolmap .n{font-size:12px}.poolmap .r{text-anchor:end}" +
		".poolmap .gap{pointer-events:none}\n" +
		".poolmap .hit{fill:#000;fill-opacity:0}.poolmap .hit :hover{fill-opacity:.25}\n")
	fmt.Fprintf(&s, ".poolmap .p%d{fill:url(#poolmap-shared)}", sharedPaint)
	for p := volumePaint; p < freePaint; p++ {
		fmt.Fprintf(&s, ".poolmap .p%d{fill:%s}", p, p.colour().hex())
	}
	s.WriteByte('\n')
	theme("#ffffff", "#1f2328", "#59636e", "#b5bcc4", freeLight.hex())
	s.WriteString("@media (prefers-color-scheme:dark){\n")
	theme(darkPage.hex(), "#e6edf3", "#9aa4af", "#4a535e", freeDark.hex())
	s.WriteString("}\n</style>\n")
	fmt.Fprintf(&s, `<defs><pattern id="poolmap-shared" width="5" height="5" patternUnits="userSpaceOnUse" `+
		`patternTransform="rotate(45)"><rect width="5" height="5" fill="%s"/>`+
		`<rect width="1.3" height="5" fill="%s"/></pattern></defs>`+"\n", sharedColour.hex(), sharedHatch.hex())
	return s.String()
}

// text writes one line in a class of the style sheet.
func (d *drawing) text(x, y int, class, s string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(d.out, `<text x="%d" y="%d"%s>%s</text>`+"\n", x, y, class, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // writing to a Builder does not fail
	return b.String()
}
