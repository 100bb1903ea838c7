package disk

import (
	"os"
	"path/filepath"
	"testing"

	"thinctl/units"
)

func TestSignatures(t *testing.T) {
	const size = int64(units.MiB)
	for _, s := range signatures() {
		at := s.offset
		if at < 0 {
			at += size
		}
		path := filepath.Join(t.TempDir(), "disk")
		content := make([]byte, size)
		copy(content[at:], s.magic)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Contents(path); err != nil || got != s.owner {
			t.Errorf("%q at byte %d: got %q, %v; want %q", s.magic, s.offset, got, err, s.owner)
		}
		if err := os.Truncate(path, at); err != nil {
			t.Fatal(err)
		}
		if got, err := Contents(path); err != nil || got != "" {
			t.Errorf("a file that ends at byte %d: got %q, %v; want none", at, got, err)
		}
	}
}
