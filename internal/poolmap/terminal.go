package poolmap

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Color is the ability of a terminal to show colours. The caller must find out whether the
// output is a terminal, and whether NO_COLOR is set.
type Color uint8

// Abilities of terminals.
const (
	NoColor Color = iota // ASCII, except for the names of volumes
	Color256
	TrueColor
)

// TerminalOptions change the drawing of Terminal.
type TerminalOptions struct {
	Width  int // columns of the terminal, at least 60; 0 for 80
	Height int // the largest number of rows without header and legend; 0 for 16
	Color  Color
}

const (
	terminalWidth  = 80
	terminalHeight = 16
	minWidth       = 60
	maxHeight      = 10_000
)

// signs holds two characters for each class, for drawings without colours: one for a whole
// cell, and one for a mixed cell with a majority of the class.
var signs = [classes]string{
	"Aa", "Bb", "Cc", "Dd", "Ee", "Ff", "Gg", "Hh", other: "Zz", shared: "#%", free: ".:",
}

// Terminal draws m as lines of text with a legend.
func Terminal(w io.Writer, m Map, o TerminalOptions) error {
	if err := m.validate(); err != nil {
		return err
	}
	if o.Width == 0 {
		o.Width = terminalWidth
	}
	if o.Height <= 0 {
		o.Height = terminalHeight
	}
	f, err := m.figures()
	if err != nil {
		return err
	}
	t := terminal{Map: m, out: bufio.NewWriter(w), color: o.Color, width: max(o.Width, minWidth)}
	t.fit(uint64(min(o.Height, maxHeight)))
	t.header(f)
	if err := t.rows(f); err != nil {
		return err
	}
	t.legend(f)
	return t.out.Flush()
}

type terminal struct {
	Map
	out    *bufio.Writer
	color  Color
	width  int
	gutter int // columns of the addresses
	grid   grid
	pen    string // the SGR sequence in force
}

// fit chooses the grid, and the width of the column of addresses.
func (t *terminal) fit(rows uint64) {
	for t.gutter = 4; ; t.gutter++ {
		t.grid = layout(t.Blocks, uint64(max(t.width-t.gutter-1, 1)), rows)
		longest := 0
		for row := range t.grid.rows {
			longest = max(longest, len(t.address(row)))
		}
		if longest <= t.gutter {
			return
		}
	}
}

func (t *terminal) address(row uint64) string {
	return address(t.size(row * t.grid.columns * t.grid.per))
}

func (t *terminal) header(f figures) {
	for _, line := range t.summary(f) {
		fmt.Fprintln(t.out, line)
	}
	fmt.Fprintln(t.out)
	t.scale()
}

// scale writes the line with the offsets of columns.
func (t *terminal) scale() {
	step := uint64(8)
	for len(address(t.size(t.grid.per*t.grid.columns)))+2 > int(step) {
		step *= 2
	}
	if t.grid.columns >= 48 {
		step = max(step, 16)
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%*s ", t.gutter, "")
	last := min(t.grid.columns, t.grid.cells(t.Blocks))
	for column := uint64(0); column < last; column += step {
		label := "+" + address(t.size(column*t.grid.per))
		if column+uint64(len(label)) > t.grid.columns {
			break
		}
		fmt.Fprintf(&line, "%-*s", int(step), label)
	}
	fmt.Fprintln(t.out, strings.TrimRight(line.String(), " "))
}

func (t *terminal) rows(f figures) error {
	var layers []layer
	index := uint64(0)
	last := t.grid.cells(t.Blocks)
	return t.cells(f, t.grid.per, func(c *cell) error {
		if index%t.grid.columns == 0 {
			fmt.Fprintf(t.out, "%*s ", t.gutter, t.address(index/t.grid.columns))
		}
		if t.color == NoColor {
			t.out.WriteByte(c.sign())
		} else {
			layers = c.stack(layers[:0])
			t.cell(layers)
		}
		index++
		if index%t.grid.columns == 0 || index == last {
			t.put("", "\n")
		}
		return nil
	})
}

// sign returns the character of the cell's largest class, the first if several are equal.
func (c *cell) sign() byte {
	shares := c.shares()
	largest := class(0)
	for i, blocks := range shares {
		if blocks > shares[largest] {
			largest = class(i)
		}
	}
	if c.whole() {
		return signs[largest][0]
	}
	return signs[largest][1]
}

var eighths = []string{"", "▁", "▂", "▃", "▄", "▅", "▆", "▇"}

// cell draws the two largest layers to scale, one above the other.
func (t *terminal) cell(layers []layer) {
	if len(layers) == 1 {
		t.whole(layers[0].paint)
		return
	}
	largest := func(skip int) int {
		found := -1
		for i, l := range layers {
			if i != skip && (found < 0 || l.blocks > layers[found].blocks) {
				found = i
			}
		}
		return found
	}
	first := largest(-1)
	second := largest(first)
	pair := []layer{layers[min(first, second)], layers[max(first, second)]}
	pen := t.foreground(pair[0].paint.colour())
	if pair[1].paint != freePaint {
		pen += ";" + t.background(pair[1].paint.colour())
	}
	t.put(pen, eighths[heights(pair, 8)[0]])
}

func (t *terminal) whole(p paint) {
	switch p {
	case freePaint:
		t.put(t.foreground(otherGreys[0]), "·")
	case sharedPaint:
		t.put(t.foreground(sharedHatch)+";"+t.background(sharedColour), "╱")
	default:
		t.put(t.background(p.colour()), " ")
	}
}

func (t *terminal) foreground(c colour) string { return t.sgr(3, c) }
func (t *terminal) background(c colour) string { return t.sgr(4, c) }

// sgr returns the parameters of an SGR sequence: 3 selects the foreground, 4 the
// background.
func (t *terminal) sgr(selector int, c colour) string {
	if t.color == Color256 {
		return fmt.Sprintf("%d8;5;%d", selector, c.xterm)
	}
	return fmt.Sprintf("%d8;2;%d;%d;%d", selector, c.r, c.g, c.b)
}

// put writes text in the colours of an SGR sequence, or without colours if it is empty.
func (t *terminal) put(pen, text string) {
	if pen != t.pen {
		t.out.WriteString("\x1b[0")
		if pen != "" {
			t.out.WriteString(";" + pen)
		}
		t.out.WriteString("m")
		t.pen = pen
	}
	t.out.WriteString(text)
}

// legend writes the legend and the remarks.
func (t *terminal) legend(f figures) {
	fmt.Fprintf(t.out, "\n%s\n", t.scaleText(t.grid))
	switch {
	case t.grid.per == 1:
	case t.color == NoColor:
		t.out.WriteString("First character: a whole cell; second: the largest share of a mixed cell.\n")
	default:
		t.out.WriteString("A cell in two colours is mixed: its two largest shares, to scale.\n")
	}
	entries := t.Map.legend(f, named)
	nameWidth := 0
	for _, e := range entries {
		nameWidth = max(nameWidth, width(e.name))
	}
	nameWidth = max(4, min(nameWidth, t.width-4-9-9-8))
	fmt.Fprintf(t.out, "\n    %*s %8s %8s %7s\n", -nameWidth, "", "size", "share", "runs")
	for _, e := range entries {
		t.swatch(e.paints)
		name := fit(e.name, nameWidth, "..")
		fmt.Fprintf(t.out, " %s%*s %8s %8s %7s\n", name, nameWidth-width(name), "",
			t.size(e.blocks), percent(e.blocks, t.Blocks), grouped(e.runs))
	}
	t.out.WriteByte('\n')
	for _, remark := range t.remarks(f) {
		fmt.Fprintln(t.out, remark)
	}
}

func (t *terminal) swatch(paints []paint) {
	if t.color == NoColor {
		sign := signs[paints[0].class()]
		fmt.Fprintf(t.out, "%c %c", sign[0], sign[1])
		return
	}
	for i := range len(otherGreys) {
		t.whole(paints[i%len(paints)])
	}
	t.put("", "")
}
