package poolmap

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Color says what a terminal can show. Whether it is one, and whether NO_COLOR
// is set, is the caller's to find out.
type Color uint8

const (
	NoColor Color = iota // ASCII, but for the volumes' names
	Color256
	TrueColor
)

// TerminalOptions are those of Terminal.
type TerminalOptions struct {
	Width  int // columns of the terminal, at least 60; 0 is 80
	Height int // rows of the map at most, without header and legend; 0 is 16
	Color  Color
}

const (
	terminalWidth  = 80
	terminalHeight = 16
	leastWidth     = 60
	mostHeight     = 10_000
)

// signs are those of a class in plain text: for a cell that is whole, and for a
// mixed one that has most of.
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
	t := terminal{Map: m, out: bufio.NewWriter(w), color: o.Color, width: max(o.Width, leastWidth)}
	t.fit(uint64(min(o.Height, mostHeight)))
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

// fit chooses the grid and gives the addresses the room that they need.
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

// scale writes what a column adds to the row's address.
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

// sign is the cell's in plain text: its majority's, that which is used first.
func (c *cell) sign() byte {
	shares := c.shares()
	most := class(0)
	for i, blocks := range shares {
		if blocks > shares[most] {
			most = class(i)
		}
	}
	if c.whole() {
		return signs[most][0]
	}
	return signs[most][1]
}

var eighths = []string{"", "▁", "▂", "▃", "▄", "▅", "▆", "▇"}

// cell draws the two largest layers, one above the other, to scale.
func (t *terminal) cell(layers []layer) {
	if len(layers) == 1 {
		t.whole(layers[0].paint)
		return
	}
	largest := func(skip int) int {
		most := -1
		for i, l := range layers {
			if i != skip && (most < 0 || l.blocks > layers[most].blocks) {
				most = i
			}
		}
		return most
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

func (t *terminal) sgr(ground int, c colour) string {
	if t.color == Color256 {
		return fmt.Sprintf("%d8;5;%d", ground, c.xterm)
	}
	return fmt.Sprintf("%d8;2;%d;%d;%d", ground, c.r, c.g, c.b)
}

// put writes text in the colours of an SGR sequence, none if it is empty.
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

// legend explains the signs, with the figures of each.
func (t *terminal) legend(f figures) {
	fmt.Fprintf(t.out, "\n%s\n", t.steps(t.grid))
	switch {
	case t.grid.per == 1:
	case t.color == NoColor:
		t.out.WriteString("First sign: all of the cell; second: most of a mixed cell.\n")
	default:
		t.out.WriteString("A cell in two colours is mixed: its two largest shares, to scale.\n")
	}
	entries := t.Map.legend(f, named)
	room := 0
	for _, e := range entries {
		room = max(room, width(e.name))
	}
	room = max(4, min(room, t.width-4-9-9-8))
	fmt.Fprintf(t.out, "\n    %*s %8s %8s %7s\n", -room, "", "size", "share", "runs")
	for _, e := range entries {
		t.swatch(e.paints)
		name := fit(e.name, room, "..")
		fmt.Fprintf(t.out, " %s%*s %8s %8s %7s\n", name, room-width(name), "",
			t.size(e.blocks), percent(e.blocks, t.Blocks), grouped(e.runs))
	}
	t.out.WriteByte('\n')
	for _, fact := range t.facts(f) {
		fmt.Fprintln(t.out, fact)
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
