package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestDocsAreCurrent: what `make docs` generates is what is in the project.
func TestDocsAreCurrent(t *testing.T) {
	files, err := docFiles((&app{out: io.Discard, err: io.Discard}).root())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		got, err := os.ReadFile(filepath.Join("../..", file.path))
		if err != nil || !bytes.Equal(got, file.text) {
			t.Errorf("%s is not what `thinctl docs` writes: run `make docs` (%v)", file.path, err)
		}
	}
}
