package disk

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"thinctl/internal/testkit/need"
	"thinctl/units"
)

// Real file systems check the offsets in the superblocks.
func TestFileSystemSize(t *testing.T) {
	const offset = 3 * units.MiB
	for _, test := range []struct {
		name string
		make []string
		size units.Bytes // of the file
		want units.Bytes
	}{
		{"ext4", []string{"mkfs.ext4", "-q", "-F"}, 64 * units.MiB, 64 * units.MiB},
		{"ext4, 64bit", []string{"mkfs.ext4", "-q", "-F", "-O", "64bit", "-b", "4096"}, 80 * units.MiB, 80 * units.MiB},
		{"ext4 with blocks of 1 KiB", []string{"mkfs.ext4", "-q", "-F", "-b", "1024"}, 16 * units.MiB, 16 * units.MiB},
		{"ext2", []string{"mkfs.ext2", "-q", "-F"}, 8 * units.MiB, 8 * units.MiB},
		{"xfs", []string{"mkfs.xfs", "-q", "-f"}, 320 * units.MiB, 320 * units.MiB},
		{"nothing", nil, units.MiB, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			made := filepath.Join(t.TempDir(), "made")
			if err := os.WriteFile(made, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(made, int64(test.size)); err != nil {
				t.Fatal(err)
			}
			if test.make != nil {
				if out, err := exec.Command(need.Program(t, test.make[0]), append(test.make[1:], made)...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v: %s", test.make, err, out)
				}
			}
			content, err := os.ReadFile(made)
			if err != nil {
				t.Fatal(err)
			}
			pool := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(pool, append(make([]byte, offset), content[:4096]...), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := FileSystemSize(pool, offset); err != nil || got != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
			if got, err := FileSystemSize(pool, 100*units.MiB); err != nil || got != 0 {
				t.Errorf("beyond the end: got %s, %v, want 0", got, err)
			}
		})
	}
}

func TestSizeInSuperblockImpossible(t *testing.T) {
	xfs := func(block uint32, blocks uint64) []byte {
		b := make([]byte, 4096)
		copy(b, "XFSB")
		binary.BigEndian.PutUint32(b[4:], block)
		binary.BigEndian.PutUint64(b[8:], blocks)
		return b
	}
	ext4 := make([]byte, 4096)
	copy(ext4[1024+56:], "\x53\xef")
	binary.LittleEndian.PutUint32(ext4[1024+24:], 40)
	for name, b := range map[string][]byte{
		"xfs with blocks of 3000 bytes": xfs(3000, 1000), "xfs of 2^70 bytes": xfs(65536, 1<<54), "ext4 with blocks of 2^40 KiB": ext4,
	} {
		if got := sizeInSuperblock(b); got != 0 {
			t.Errorf("%s: got %s, want 0", name, got)
		}
	}
}
