package metadata_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

// ClearNeedsCheck clears the flag and changes nothing else, also when it is repeated. It
// does not change a damaged superblock.
func TestClearNeedsCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta")
	for _, flagged := range []bool{true, false} {
		image, _, err := metadatatest.Random(3).Image(metadatatest.SaveOptions{UUID: [16]byte{7}, NeedsCheck: flagged})
		if err != nil {
			t.Fatal(err)
		}
		before := image.Clone()
		write(t, path, image.Bytes)
		for range 2 {
			if err := metadata.ClearNeedsCheck(path); err != nil {
				t.Fatal(err)
			}
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := metadata.ReadSuperblockFile(path)
		if err != nil || s.NeedsCheck() || s.UUID != [16]byte{7} {
			t.Errorf("got superblock %+v, %v; want no needs_check and uuid 07...", s, err)
		}
		const checksumAndFlags = 8
		if !bytes.Equal(after[checksumAndFlags:], before.Bytes[checksumAndFlags:]) {
			t.Error("more than the flag and the checksum has changed")
		}
		if out, err := exec.Command(need.Program(t, "thin_check"), path).CombinedOutput(); err != nil {
			t.Errorf("thin_check: %v\n%s", err, out)
		}
		before.Bytes[100] ^= 1
		write(t, path, before.Bytes)
		if err := metadata.ClearNeedsCheck(path); !errors.Is(err, metadata.ErrChecksum) {
			t.Errorf("damaged superblock: got %v, want ErrChecksum", err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before.Bytes) {
			t.Errorf("the damaged superblock has changed (%v)", err)
		}
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
