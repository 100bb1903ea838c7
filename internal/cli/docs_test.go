package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/docs"
)

// TestDocsAreCurrent checks that the files of `make docs` are up to date.
func TestDocsAreCurrent(t *testing.T) {
	files, err := docs.Files(newApp(&command.Environment{Out: io.Discard, Err: io.Discard}))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		got, err := os.ReadFile(filepath.Join("../..", file.Path))
		if err != nil || !bytes.Equal(got, file.Text) {
			t.Errorf("%s is not what `thinctl docs` writes: run `make docs` (%v)", file.Path, err)
		}
	}
}
