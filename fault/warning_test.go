package fault_test

import (
	"testing"

	"thinctl/fault"
)

func TestWarning(t *testing.T) {
	var got []string
	warn := fault.Warn(func(w fault.Warning) { got = append(got, w.String()) })
	warn.Add("index.json", "no platform")
	inner := warn.In("a.tar", "layer 2")
	inner.Add("", "%d bytes after the end", 5)
	inner.Add(".wh..wh.aufs", "skipped")
	inner.In("b.tar", "").Add("x", "the inner object wins")
	want := []string{
		"index.json: no platform",
		"a.tar: layer 2: 5 bytes after the end",
		"a.tar: layer 2: .wh..wh.aufs: skipped",
		"b.tar: layer 2: x: the inner object wins",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	var none fault.Warn
	none.Add("a", "dropped")
	if none.In("a", "b") != nil {
		t.Error("a nil Warn in an object is not nil")
	}
}
