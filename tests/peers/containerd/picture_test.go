package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// made is a table with a cell for all but one operation of one peer.
func made() table {
	dice := rand.New(rand.NewPCG(1, 1))
	t := table{}
	some := func() cell {
		p50 := time.Duration(dice.Int64N(int64(time.Second))) / 1e4 * 1e4
		return cell{p50: p50, p99: 2 * p50, rate: float64(dice.IntN(1e5)) / 100}
	}
	for _, peer := range []string{floorName, udevName, directName, thinctlName, devmapper, overlayfs} {
		for _, operation := range append(operations, collected) {
			for _, depth := range []int{1, 16, 128} {
				for _, clients := range []int{1, 8, 32} {
					if peer != devmapper || depth < 128 {
						t[key{peer, operation, depth, clients}] = some()
					}
				}
			}
		}
		if peer != floorName && peer != udevName && peer != directName {
			for _, operation := range livesOf {
				t[key{peer, operation, 0, 0}] = some()
			}
		}
	}
	return t
}

func TestWhatIsPrintedIsReadAgain(t *testing.T) {
	want := made()
	var text strings.Builder
	text.WriteString("# Other figures\n\n| depth | clients | floor |\n|---|---|---|\n| 1 | 1 | 3 |\n\n")
	want.write(&text, 50)
	text.WriteString("\n## What follows\n")
	seen, err := read(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	for k, c := range want {
		if k.depth == 0 {
			continue
		}
		if s := seen[k]; s.String() != c.String() {
			t.Errorf("%+v: %s was printed, and %s read", k, c, s)
		}
	}
	if _, err := read(strings.NewReader("nothing")); err == nil {
		t.Error("nothing was read, want an error")
	}
}

func TestThePictureIsXMLWithABarForEachFigure(t *testing.T) {
	var out strings.Builder
	if err := svg(&out, made()); err != nil {
		t.Fatal(err)
	}
	bars := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(out.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars[e.Attr[0].Value]++
		}
	}
	want := map[string]int{"page": 1}
	for _, class := range []string{"c0", "c1", "c2", "c3", "c4", "c5"} {
		want[class] = 2*len(shown) + 1 // with the one of the legend
	}
	if !reflect.DeepEqual(bars, want) {
		t.Errorf("the rectangles are %v, not %v", bars, want)
	}
}

func TestAPictureOfOneTurn(t *testing.T) {
	one := table{}
	for _, peer := range []string{floorName, thinctlName} {
		one[key{peer, prepare, 1, 1}] = cell{p50: time.Millisecond, p99: time.Millisecond, rate: 1}
	}
	if err := svg(io.Discard, one); err != nil {
		t.Error(err)
	}
	if err := svg(io.Discard, table{}); err == nil {
		t.Error("nothing was drawn, want an error")
	}
}

func TestTheImage(t *testing.T) {
	i := layered([]byte("a program"))
	files, bytes := 0, int64(0)
	for _, l := range i.Layers {
		bytes += l.Size()
		files += len(l.Entries)
	}
	if len(i.Layers) != dataLayers+2 || files < 3000 || bytes < 50e6 || bytes > 75e6 { // one has a line of history only
		t.Errorf("%d layers with %d entries, %d bytes", len(i.Layers), files, bytes)
	}
}
