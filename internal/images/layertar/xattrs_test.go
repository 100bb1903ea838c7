package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// withAttributes returns the header of a file with attributes of these lengths,
// in the order of their names.
func withAttributes(name string, kind byte, lengths ...int) tar.Header {
	h := tar.Header{Name: name, Typeflag: kind, PAXRecords: map[string]string{}}
	for i, n := range lengths {
		h.PAXRecords[xattrRecord+"user."+string(rune('a'+i))] = strings.Repeat("v", n)
	}
	return h
}

// TestAttributesOfFileSystems applies attributes that are too large for ext4, but not for
// xfs, to file systems that are not full.
func TestAttributesOfFileSystems(t *testing.T) {
	need.Root(t)
	ext4 := mounted(t, filesystem.Ext4, 64*units.MiB)
	xfs := mounted(t, filesystem.XFS, filesystem.MinXFS)
	for _, c := range []struct {
		name string
		h    tar.Header
		want string // in the error on ext4, "" for none
		fits bool   // on xfs
	}{
		{"small", withAttributes("f", tar.TypeReg, 700), "", true},
		{"2 KiB, where blocks have 1 KiB", withAttributes("f", tar.TypeReg, 2<<10), "setxattr user.a of 2048 bytes", true},
		{"5 KiB", withAttributes("f", tar.TypeReg, 5<<10), "setxattr user.a of 5120 bytes", true},
		{"two that do not fit together", withAttributes("f", tar.TypeReg, 3000, 3000), " of 3000 bytes", true},
		{"of a directory", withAttributes("d/", tar.TypeDir, 5<<10), "setxattr user.a of 5120 bytes", true},
		{"of the root", withAttributes("./", tar.TypeDir, 5<<10), "setxattr user.a of 5120 bytes", true},
		{"64 KiB", withAttributes("f", tar.TypeReg, 64<<10), "setxattr user.a of 65536 bytes", true},
	} {
		layer := archiveOf(t, file("before"), c.h)
		for root, fits := range map[string]bool{ext4: c.want == "", xfs: c.fits} {
			to, err := os.MkdirTemp(root, "")
			must(t, err)
			applied, err := Apply(t.Context(), to, bytes.NewReader(layer), ApplyOptions{})
			if fits {
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				must(t, applied.Split.Close())
				continue
			}
			var named *fs.PathError
			if !errors.Is(err, unix.ENOSPC) || !errors.As(err, &named) || !strings.HasPrefix(named.Op, "setxattr ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want ENOSPC in a PathError with %q", c.name, err, c.want)
			}
		}
	}
}

// mounted returns the root of a new file system on a loop device.
func mounted(t *testing.T, kind filesystem.Type, size units.Bytes) string {
	t.Helper()
	dir := t.TempDir()
	image, target := filepath.Join(dir, "image"), filepath.Join(dir, "root")
	must(t, errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, int64(size))))
	device := strings.TrimSpace(string(run(t, nil, "losetup", "--find", "--show", image)))
	t.Cleanup(func() { run(t, nil, "losetup", "--detach", device) })
	must(t, filesystem.Format(t.Context(), device, filesystem.FormatOptions{Type: kind}))
	must(t, filesystem.Mount(t.Context(), device, target, filesystem.MountOptions{MakeTarget: true}))
	t.Cleanup(func() { must(t, unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)) })
	return target
}
