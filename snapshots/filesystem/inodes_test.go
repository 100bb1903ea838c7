package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"thinctl/units"
)

// A mounted file system counts files at once, its superblock after the unmount.
func TestInodes(t *testing.T) {
	for _, kind := range []Type{Ext4, XFS} {
		t.Run(string(kind), func(t *testing.T) {
			disk := newDisk(t, 320*units.MiB).format(FormatOptions{Type: kind})
			count := func(target string) uint64 {
				t.Helper()
				n, err := Inodes(disk.device, target)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := count("")
			target := t.TempDir()
			if err := Mount(t.Context(), disk.device, target, MountOptions{Type: kind}); err != nil {
				t.Fatal(err)
			}
			defer Unmount(t.Context(), target, UnmountOptions{Lazy: true})
			const files = 70 // more than xfs allocates at once
			for i := range files {
				if err := os.WriteFile(filepath.Join(target, fmt.Sprint(i)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if n := count(target); n != before+files {
				t.Errorf("mounted: got %d inodes in use, want %d", n, before+files)
			}
			if _, err := Inodes(disk.device, t.TempDir()); !errors.Is(err, ErrNotMounted) {
				t.Errorf("where something else is mounted: got %v", err)
			}
			if err := Unmount(t.Context(), target, UnmountOptions{}); err != nil {
				t.Fatal(err)
			}
			if n := count(""); n != before+files {
				t.Errorf("the superblock: got %d inodes in use, want %d", n, before+files)
			}
		})
	}
	if _, err := Inodes(newDisk(t, 64*units.MiB).device, ""); !errors.Is(err, ErrNoFilesystem) {
		t.Errorf("of an empty device: got %v", err)
	}
}
