package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"thinctl/internal/cli/exit"
	"thinctl/internal/testkit/metadatatest"
	"thinctl/loopback"
	"thinctl/units"
)

// TestNewFiles checks that new files are 0600, fully allocated, and appear when they are complete.
// An interrupt or a released metadata snapshot leaves no file.
func TestNewFiles(t *testing.T) {
	dir := t.TempDir()
	meta := filepath.Join(dir, "meta")
	if err := metadatatest.WriteFile(meta); err != nil {
		t.Fatal(err)
	}
	interrupted, interrupt := context.WithCancelCause(t.Context())
	interrupt(exit.ErrInterrupted)
	names := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
	made := []string{"meta"}
	for _, args := range [][]string{{"dump", meta, "-o"}, {"repair", meta, "-o"}, {"restore", filepath.Join(dir, "new.dump")}} {
		path := filepath.Join(dir, "new."+args[0])
		args = append(append([]string{"metadata"}, args...), path)
		if code, _, errs := onThisMachine(interrupted, t, args...); code != exit.CodeInterrupted {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
		if got := names(); len(got) != len(made) {
			t.Errorf("%v: an interrupt leaves %v", args, got)
		}
		if code, _, errs := onThisMachine(t.Context(), t, args...); code != 0 {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
		made = append(made, path)
		if got := names(); len(got) != len(made) {
			t.Errorf("%v: left %v", args, got)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got %v (%v), want mode 0600", path, info, err)
		}
	}
	used, err := loopback.Usage(filepath.Join(dir, "new.restore"))
	if err != nil || used.Allocated < 2*units.MiB {
		t.Errorf("got %+v allocated (%v), want at least 2M", used, err)
	}
}
