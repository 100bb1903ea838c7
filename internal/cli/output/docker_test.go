package output

import (
	"testing"
)

func TestHarmless(t *testing.T) {
	if got := Clipped(Harmless("a\x1b[2Jb\tc\nd€"), 8); got != "a [2Jb …" {
		t.Errorf("%q", got)
	}
}
