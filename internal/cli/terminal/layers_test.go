package terminal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func linesOf(live bool, ids ...string) (*Layers, *bytes.Buffer) {
	var out bytes.Buffer
	l := &Layers{w: &out, live: live}
	for _, id := range ids {
		l.lines = append(l.lines, layer{name: id})
	}
	return l, &out
}

// TestLayersPlain checks that without a terminal a line is written once, when a layer is done.
func TestLayersPlain(t *testing.T) {
	l, out := linesOf(false, "a", "b")
	l.Count(0, "Loading layer", 1000, 2000)
	l.End(0, "Loaded")
	l.End(0, "Loaded")
	l.Count(0, "Loading layer", 2000, 2000)
	l.Count(1, "Loading layer", 10, 0)
	l.End(2, "no such layer")
	l.Close()
	if got := out.String(); got != "a: Loaded\n" {
		t.Errorf("%q", got)
	}
}

// TestLayersLive checks that on a terminal the lines below the final ones are drawn again.
func TestLayersLive(t *testing.T) {
	l, out := linesOf(true, "a", "b", "c")
	l.Count(0, "Downloading", 1000, 2000)
	if got, want := out.String(), "\r\033[Ka: Downloading 1kB/2kB\n\033[J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	out.Reset()
	l.Count(1, "Downloading", 5, 0) // too soon to be drawn
	if out.Len() > 0 {
		t.Errorf("a count right after the last one: got %q, want nothing", out)
	}
	l.End(1, "Pull complete")
	if got, want := out.String(), "\033[1A\r\033[Ka: Downloading 1kB/2kB\n\r\033[Kb: Pull complete\n\033[J"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	out.Reset()
	l.End(0, "Pull complete") // a and b are final
	l.last = time.Time{}
	l.Count(2, "Downloading", 5, 0)
	if got := out.String(); !strings.HasSuffix(got, "\033[J\r\033[Kc: Downloading 5B\n\033[J") {
		t.Errorf("%q", got)
	}
	l.Close()
}

// TestLayersMany checks that the lines that are drawn again fit on a screen.
func TestLayersMany(t *testing.T) {
	var ids []string
	for i := range 127 {
		ids = append(ids, fmt.Sprint("layer", i))
	}
	l, _ := linesOf(true, ids...)
	for i := range ids {
		l.last = time.Time{}
		l.Count(i, "Downloading", 1, 2)
		if l.drawn > mostLines {
			t.Fatalf("got %d lines drawn again, want at most %d", l.drawn, mostLines)
		}
	}
	for i := range ids {
		l.End(i, "Pull complete")
	}
	if l.top != 127 || l.drawn != 0 {
		t.Errorf("got %d final lines and %d drawn again, want 127 and 0", l.top, l.drawn)
	}
}
