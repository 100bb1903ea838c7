package disk

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"thinctl/blockdev"
)

func TestAbove(t *testing.T) {
	sysfs := t.TempDir()
	holders := filepath.Join(sysfs, "dev/block/253:4/holders")
	for _, dir := range []string{"dm-7/dm", "md0", "../../253:5/holders"} {
		if err := os.MkdirAll(filepath.Join(holders, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(holders, "dm-7/dm/name"), []byte("vg-root\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for minor, want := range map[uint32][]string{4: {"dm-7 (vg-root)", "md0"}, 5: nil, 6: nil} {
		if got := above(sysfs, blockdev.Number{Major: 253, Minor: minor}); !slices.Equal(got, want) {
			t.Errorf("on 253:%d: got %q, want %q", minor, got, want)
		}
	}
}
