package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/internal/cli/exit"
	"thinctl/internal/testkit/metadatatest"
)

// TestCommandsOnEachDamage runs all commands on each kind of damage: check reports it in its exit
// code, no command writes to the metadata, and the output of repair is sound.
func TestCommandsOnEachDamage(t *testing.T) {
	dir := t.TempDir()
	path, fresh, xml := filepath.Join(dir, "meta"), filepath.Join(dir, "new"), filepath.Join(dir, "xml")
	good, _, err := metadatatest.Rich(1).Image(metadatatest.SaveOptions{DataBlocks: metadatatest.RichDataBlocks})
	if err != nil {
		t.Fatal(err)
	}
	done, applied := map[string]bool{}, 0
	for _, d := range metadatatest.Damages() {
		kind, _, _ := strings.Cut(d.Name, "/")
		if kind != "superblock" && kind != "truncated" && done[kind] {
			continue
		}
		done[kind] = true
		image := good.Clone()
		if _, ok, err := d.Apply(image, 1); err != nil {
			t.Fatal(err)
		} else if !ok {
			continue // the pool has no block of that kind
		}
		applied++
		if err := os.WriteFile(path, image.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		want := []int{exit.CodeUnhealthy, exit.CodeFailed, exit.CodeMissing}
		if d.Flag {
			want = []int{exit.CodeDone}
		}
		if code, _, errs := onThisMachine(t.Context(), t, "metadata", "check", path); !slices.Contains(want, code) {
			t.Errorf("%s: check: exit code %d: %s", d.Name, code, errs)
		}
		code, _, errs := onThisMachine(t.Context(), t, "metadata", "repair", path, "-o", fresh, "--size", "16M", "--data-blocks", "1000000")
		switch _, missing := os.Stat(fresh); {
		case missing == nil:
			if code != exit.CodeDone && code != exit.CodeUnhealthy || (d.Leak || d.Flag) && code != exit.CodeDone {
				t.Errorf("%s: repair: exit code %d: %s", d.Name, code, errs)
			}
			if code, out, _ := onThisMachine(t.Context(), t, "metadata", "check", fresh); code != exit.CodeDone {
				t.Errorf("%s: repaired: exit code %d: %s", d.Name, code, out)
			}
			os.Remove(fresh)
		case code == exit.CodeDone:
			t.Errorf("%s: repair: got no file and exit code 0, want a file or an error", d.Name)
		}
		if code, _, errs := onThisMachine(t.Context(), t, "metadata", "dump", path, "-o", xml); code != exit.CodeDone {
			if _, err := os.Stat(xml); err == nil {
				t.Errorf("%s: dump: exit code %d, and a file: %s", d.Name, code, errs)
			}
		}
		os.Remove(xml)
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, image.Bytes) {
			t.Errorf("%s: the metadata was written to: %v", d.Name, err)
		}
	}
	if applied < 70 {
		t.Errorf("only %d damages", applied)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
