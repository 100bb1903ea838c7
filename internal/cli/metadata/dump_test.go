package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/metadatafile"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// TestDumpReleasedHeldRoot checks that a dump gets no name if its metadata snapshot was released.
func TestDumpReleasedHeldRoot(t *testing.T) {
	dir := t.TempDir()
	meta, path := filepath.Join(dir, "meta"), filepath.Join(dir, "xml")
	if err := metadatatest.WriteFile(meta); err != nil {
		t.Fatal(err)
	}
	s := &source{path: meta}
	if err := s.open(t.Context(), metadatafile.Local(), true); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := metadatatest.WriteFile(meta, "unheld"); err != nil {
		t.Fatal(err)
	}
	c := &command.Call{Environment: &command.Environment{}, Ctx: t.Context()}
	if err := dumpTo(c, s, path, metadata.DumpOptions{SkipMappings: true}); !errors.Is(err, fault.Unhealthy) {
		t.Errorf("dump: got %v, want an unhealthy pool", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("got files %v (%v), want only the metadata", entries, err)
	}
}
