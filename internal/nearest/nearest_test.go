package nearest_test

import (
	"testing"

	"thinctl/internal/nearest"
)

func TestOf(t *testing.T) {
	commands := []string{"create", "activate", "rm", "extend"}
	for word, want := range map[string]string{
		"creat": "create", "craete": "create", "extnd": "extend", "destroy": "", "zz": "", "": "", "create": "create", "mr": "",
	} {
		if got := nearest.Of(word, commands); got != want {
			t.Errorf("nearest.Of(%q) = %q, want %q", word, got, want)
		}
	}
}
