package poolmap

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"thinctl/units"
)

// plainCells draws m in plain text and counts the signs of its map.
func plainCells(m Map) (uint64, error) {
	var out bytes.Buffer
	if err := Terminal(&out, m, TerminalOptions{}); err != nil {
		return 0, err
	}
	return mapCells(out.String()), nil
}

// mapCells counts the cells between the scale and the legend.
func mapCells(s string) uint64 {
	_, s, _ = strings.Cut(s, "+0")
	s, _, _ = strings.Cut(s, "\n\n")
	n := 0
	for _, line := range strings.Split(s, "\n")[1:] {
		_, cells, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		n += len([]rune(cells))
	}
	return uint64(n)
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestTerminalFits(t *testing.T) {
	for name, m := range sampleMaps() {
		m.Owners = append([]string{strings.Repeat("long-", 40)}, m.Owners...)
		for _, width := range []int{0, 40, 60, 79, 80, 132, 300} {
			for _, color := range []Color{NoColor, Color256, TrueColor} {
				var out bytes.Buffer
				if err := Terminal(&out, m, TerminalOptions{Width: width, Height: 12, Color: color}); err != nil {
					t.Fatal(err)
				}
				last := out.String()[strings.LastIndex(out.String(), "\x1b")+1:]
				if color != NoColor && !strings.HasPrefix(last, "[0m") {
					t.Errorf("%s: the last colour is not reset", name)
				}
				text := sgr.ReplaceAllString(out.String(), "")
				limit := max(width, minWidth)
				if width == 0 {
					limit = 80
				}
				for line := range strings.Lines(text) {
					if w := len([]rune(strings.TrimRight(line, "\n"))); w > limit && !strings.HasSuffix(line, ".\n") {
						t.Errorf("%s at %d columns: got %d in %q", name, width, w, line)
					}
				}
				per := cellBlocks(t, text)
				if got, want := mapCells(text), (m.Blocks-1)/per+1; got != want {
					t.Errorf("%s at %d columns: got %d cells of %d blocks, want %d", name, width, got, per, want)
				}
			}
		}
	}
}

func cellBlocks(t *testing.T, text string) uint64 {
	t.Helper()
	found := regexp.MustCompile(`\(([0-9,]+) blocks?\), a row`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("got no scale in %q", text)
	}
	n := uint64(0)
	for _, c := range strings.ReplaceAll(found[1], ",", "") {
		n = n*10 + uint64(c-'0')
	}
	return n
}

func TestPlainSignsMarkMixedCells(t *testing.T) {
	m := Map{BlockSize: units.MiB, Blocks: 16, Owners: []string{"a", "b"}, Spans: spansOf(
		Span{0, 4, Exclusive, 0}, Span{4, 3, Exclusive, 0}, Span{7, 1, Free, 0}, Span{8, 3, Shared, 0},
		Span{11, 1, Exclusive, 1}, Span{12, 4, Free, 0},
	)}
	f, err := m.figures()
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if err := m.cells(f, 4, func(c *cell) error { got += string(c.sign()); return nil }); err != nil || got != "Aa%." {
		t.Errorf("got %q, %v, want %q", got, err, "Aa%.")
	}
}

func TestTerminalReplacesControlCharacters(t *testing.T) {
	m := sampleMaps()["64M"]
	m.Owners = []string{"\x1b]0;title\a", "a\rb", "\u009b31m\u202e"}
	var out bytes.Buffer
	err := Terminal(&out, m, TerminalOptions{})
	if err != nil || strings.ContainsAny(out.String(), "\x1b\a\r\u009b\u202e") {
		t.Errorf("got %q, %v, want no control characters", out.String(), err)
	}
}
