package blockdev_test

import (
	"testing"

	"pgregory.net/rapid"

	"thinctl/blockdev"
)

func TestParseNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := blockdev.Number{Major: rapid.Uint32().Draw(t, "major"), Minor: rapid.Uint32().Draw(t, "minor")}
		if got, err := blockdev.ParseNumber(want.String()); err != nil || got != want {
			t.Fatalf("ParseNumber(%q): got %v, %v, want %v", want.String(), got, err, want)
		}
	})
	for _, text := range []string{
		"", ":", "7", "7:", ":1", "7:1 ", " 7:1", "7:1:2", "07:1", "7:01", "-7:1", "7:+1",
		"4294967296:0", "loop0", "7: 1", "0x7:1",
	} {
		if got, err := blockdev.ParseNumber(text); err == nil {
			t.Errorf("ParseNumber(%q): got %v, want an error", text, got)
		}
	}
}
