package poolmap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"thinctl/units"
)

var errAggregated = errors.New("a cell is several blocks")

// svgBlocks draws m and returns the number of used blocks from the painted area.
func svgBlocks(m Map) (uint64, error) {
	var out bytes.Buffer
	if err := SVG(&out, m, SVGOptions{}); err != nil {
		return 0, err
	}
	total := 0
	for _, area := range areas(out.String()) {
		total += area
	}
	d := drawing{Map: m, width: svgWidth}
	d.fit()
	if d.grid.per > 1 {
		return 0, errAggregated
	}
	return uint64(total / (d.cellWidth * cellHeight)), nil
}

var (
	painted = regexp.MustCompile(`<path class="p(\d+)" d="([^"]*)"`)
	boxed   = regexp.MustCompile(`M\d+ \d+h(\d+)v(\d+)h-(\d+)z`)
)

// areas returns the painted area by paint.
func areas(svg string) map[paint]int {
	sums := map[paint]int{}
	for _, path := range painted.FindAllStringSubmatch(svg, -1) {
		p, _ := strconv.Atoi(path[1])
		for _, b := range boxed.FindAllStringSubmatch(path[2], -1) {
			w, _ := strconv.Atoi(b[1])
			h, _ := strconv.Atoi(b[2])
			sums[paint(p)] += w * h
		}
	}
	return sums
}

func TestSVGAreasAreTheFigures(t *testing.T) {
	var out bytes.Buffer
	if err := SVG(&out, sampleMaps()["64M"], SVGOptions{}); err != nil {
		t.Fatal(err)
	}
	got := areas(out.String())
	cell := got[sharedPaint] / 218
	want := map[paint]int{sharedPaint: 218, volumePaint: 286, volumePaint + 1: 127, volumePaint + 2: 10}
	for p, blocks := range want {
		if got[p] != blocks*cell {
			t.Errorf("paint %d: got an area of %d, want %d blocks of %d", p, got[p], blocks, cell)
		}
	}
}

// worst returns a device with the largest drawing: all paints in each cell, and names that
// become longer when escaped.
func worst(blocks uint64) Map {
	m := Map{BlockSize: 64 * units.KiB, Blocks: blocks}
	for i := range 50 {
		m.Owners = append(m.Owners, strings.Repeat(`&"`, 500)+strconv.Itoa(i))
	}
	m.Spans = func(visit func(Span) error) error {
		for at := uint64(0); at < m.Blocks; at++ {
			s := Span{at, 1, Exclusive, int(at*7+at/13) % 50}
			if at%5 == 0 {
				s = Span{at, 1, Kind(at / 5 % 2 * 2), 0}
			}
			if err := visit(s); err != nil {
				return err
			}
		}
		return nil
	}
	return m
}

func TestSVGIsBoundedAndWellFormed(t *testing.T) {
	maps := sampleMaps()
	for _, blocks := range []uint64{1, 2, 3, 17, 4096, 4097, 65536, 262144 - 1} {
		maps[fmt.Sprintf("worst of %d", blocks)] = worst(blocks)
	}
	for name, m := range maps {
		for _, width := range []int{0, 1, 800, 1 << 20} {
			var out bytes.Buffer
			if err := SVG(&out, m, SVGOptions{Title: "a </svg> & \x00\xff" + name, Width: width}); err != nil {
				t.Fatal(err)
			}
			if out.Len() >= 2_000_000 {
				t.Errorf("%s at %d pixels: got %d bytes, want less than 2,000,000", name, width, out.Len())
			}
			for d := xml.NewDecoder(&out); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s at %d pixels: got %v, want valid XML", name, width, err)
				}
			}
		}
	}
}

func TestDrawingsAreDeterministic(t *testing.T) {
	m := sampleMaps()["100G"]
	var first, second bytes.Buffer
	err := errors.Join(SVG(&first, m, SVGOptions{}), SVG(&second, m, SVGOptions{}))
	if err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("two drawings of one map: got a difference or %v, want none", err)
	}
}
