package oncall

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// Sizes in pixels.
const (
	width      = 1000
	left       = 150 // of the plot
	right      = width - 30
	top        = 96
	plotHeight = 300
	rowHeight  = 26
)

// SVG draws a picture as a self-contained file, for light and dark pages.
func (p Picture) SVG(w io.Writer) error {
	d := drawing{Picture: p, out: bufio.NewWriter(w), most: p.most()}
	height := top + plotHeight + 60 + len(p.Rows)*rowHeight
	fmt.Fprintf(d.out, `<svg xmlns="http://www.w3.org/2000/svg" class="oncall" role="img" `+
		`width="%d" height="%d" viewBox="0 0 %d %d">`+"\n",
		width, height, width, height)
	fmt.Fprintf(d.out, "<title>%s</title>\n%s", escape(p.Title), style)
	fmt.Fprintf(d.out, `<rect class="page" width="%d" height="%d"/>`+"\n", width, height)
	d.text(24, 36, "h", p.Title)
	d.legend()
	d.axes()
	for i, line := range p.Lines {
		d.line(i, line)
	}
	for i, row := range p.Rows {
		d.row(top+plotHeight+52+i*rowHeight, row)
	}
	fmt.Fprint(d.out, "</svg>\n")
	return d.out.Flush()
}

const style = `<style>
.oncall text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-variant-numeric:tabular-nums;fill:#1f2328}
.oncall .h{font-size:20px;font-weight:600}.oncall .r{text-anchor:end}.oncall .m{text-anchor:middle}.oncall .page{fill:#fff}
.oncall .grid{stroke:#d1d9e0;stroke-width:1;fill:none}.oncall .line{fill:none;stroke-width:2;stroke-linejoin:round}
.oncall .c0{stroke:#0969da}.oncall .c1{stroke:#1f2328}.oncall .c2{stroke:#bc4c00}.oncall .c3{stroke:#8250df}
.oncall .area{fill:#0969da;fill-opacity:.18;stroke:none}
.oncall .filled,.oncall .solid{}.oncall .dashed{stroke-dasharray:8 5}.oncall .dotted{stroke-dasharray:2 4}
.oncall .calm{fill:#0969da}.oncall .urgent{fill:#cf222e}
@media (prefers-color-scheme:dark){
.oncall text{fill:#e6edf3}.oncall .page{fill:#0d1117}.oncall .grid{stroke:#3d444d}
.oncall .c0{stroke:#4493f8}.oncall .c1{stroke:#e6edf3}.oncall .c2{stroke:#f0883e}.oncall .c3{stroke:#b083f0}
.oncall .area{fill:#4493f8}.oncall .calm{fill:#4493f8}.oncall .urgent{fill:#f85149}
}
</style>
`

type drawing struct {
	Picture
	out  *bufio.Writer
	most float64 // bytes at the plot's upper edge
}

func (p Picture) most() float64 {
	most := 1.0
	for _, line := range p.Lines {
		for _, bytes := range line.Bytes {
			most = max(most, bytes)
		}
	}
	return most * 1.04
}

func (d drawing) x(at float64) float64 {
	return left + (right-left)*min(max(at, 0), d.Until)/d.Until
}

func (d drawing) y(bytes float64) float64 { return top + plotHeight*(1-bytes/d.most) }

func (d drawing) text(x, y float64, class, s string) {
	fmt.Fprintf(d.out, `<text class="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, x, y, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder returns no error
	return b.String()
}

func (d drawing) legend() {
	x := float64(left)
	for i, line := range d.Lines {
		if line.Style == Filled {
			fmt.Fprintf(d.out, `<path class="area" d="M%.1f 56h34v14h-34z"/>`, x)
		}
		fmt.Fprintf(d.out, `<path class="line %s c%d" d="M%.1f 63h34"/>`+"\n", line.Style, i, x)
		d.text(x+42, 68, "", line.Name)
		x += 42 + 8*float64(len(line.Name)) + 26
	}
}

// axes draws a grid, with seconds at the bottom and binary bytes at the left.
func (d drawing) axes() {
	unit, name := bytesUnit(d.most)
	for step, v := unit*nice(d.most/unit/6), 0.0; v <= d.most; v += step {
		y := d.y(v)
		fmt.Fprintf(d.out, `<path class="grid" d="M%d %.1fH%d"/>`, left, y, right)
		d.text(left-8, y+4, "r", fmt.Sprintf("%g %s", v/unit, name))
	}
	for step, v := nice(d.Until/9), 0.0; v <= d.Until; v += step {
		x := d.x(v)
		fmt.Fprintf(d.out, `<path class="grid" d="M%.1f %dv%d"/>`, x, top, plotHeight)
		d.text(x, top+plotHeight+18, "m", fmt.Sprintf("%g s", v))
	}
}

func bytesUnit(most float64) (float64, string) {
	for _, u := range []struct {
		size float64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if most >= 2*u.size {
			return u.size, u.name
		}
	}
	return 1, "B"
}

// nice returns the next of 1, 2, 2.5, 5 times a power of ten.
func nice(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 2.5, 5} {
		if v <= factor*power {
			return factor * power
		}
	}
	return 10 * power
}

func (d drawing) line(colour int, l Line) {
	if len(l.At) == 0 {
		return
	}
	var path strings.Builder
	for i, at := range l.At {
		// A value holds until the next one is read.
		if i == 0 {
			fmt.Fprintf(&path, "M%.1f %.1f", d.x(at), d.y(l.Bytes[i]))
		} else if l.Bytes[i] != l.Bytes[i-1] || i == len(l.At)-1 {
			fmt.Fprintf(&path, "H%.1fV%.1f", d.x(at), d.y(l.Bytes[i]))
		}
	}
	if l.Style == Filled {
		fmt.Fprintf(d.out, `<path class="area" d="%sV%.1fH%.1fz"/>`+"\n", path.String(), d.y(0), d.x(l.At[0]))
	}
	fmt.Fprintf(d.out, `<path class="line %s c%d" d="%s"/>`+"\n", l.Style, colour, path.String())
}

func (d drawing) row(y int, row Row) {
	class := "calm"
	if row.Urgent {
		class = "urgent"
	}
	d.text(left-8, float64(y), "r", row.Name)
	fmt.Fprintf(d.out, `<path class="grid" d="M%d %d.5H%d"/>`+"\n", left, y-5, right)
	for _, span := range row.Spans {
		from, to := d.x(span[0]), d.x(span[1])
		fmt.Fprintf(d.out, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="10" rx="2">`+
			"<title>%.0f s to %.0f s</title></rect>\n",
			class, from, y-10, max(to-from, 2), span[0], span[1])
	}
	for _, at := range row.Moments {
		fmt.Fprintf(d.out, `<path class="%s" d="M%.1f %dl6 7l-6 7l-6 -7z"><title>%.0f s</title></path>`+"\n", class, d.x(at),
			y-12, at)
	}
}
