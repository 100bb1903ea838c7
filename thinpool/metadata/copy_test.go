package metadata

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

// withUUID writes an image of a pool with devices and that uuid, extended to so many
// blocks.
func withUUID(t *testing.T, name string, devices int, id [16]byte, blocks int) string {
	t.Helper()
	m := newImage(someDevices(devices), 3)
	copy(m.block(0)[offUUID:], id[:])
	setChecksum(m.block(0), superblockSalt)
	if len(m.b) > blocks*blockSize {
		t.Fatalf("%d devices need %d bytes", devices, len(m.b))
	}
	return writeFile(t, name, append(m.b, make([]byte, blocks*blockSize-len(m.b))...))
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const copied = 600 // blocks: more than one chunk, not a multiple of a chunk

// Copy overwrites the blocks of the target up to the size and keeps those after it. The
// target may be blank or belong to the same pool, also after an interrupted copy.
func TestCopy(t *testing.T) {
	from := withUUID(t, "from", 20, uuid, copied)
	for name, spoil := range map[string]func(b []byte){
		"blank":                        func(b []byte) { clear(b) },
		"the same pool's":              func([]byte) {},
		"interrupted copy":             func(b []byte) { copy(b[3*blockSize:], bytes.Repeat([]byte{9}, 100*blockSize)) },
		"superblock written in part":   func(b []byte) { clear(b[512:blockSize]) },
		"blank superblock, old blocks": func(b []byte) { clear(b[:blockSize]) },
	} {
		t.Run(name, func(t *testing.T) {
			to := withUUID(t, "to", 7, uuid, copied+2)
			held := contents(t, to)
			spoil(held)
			copy(held[copied*blockSize:], "behind")
			if err := os.WriteFile(to, held, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := Copy(t.Context(), from, to, copied*BlockSize); err != nil {
					t.Fatal(err)
				}
				if want := append(contents(t, from), held[copied*blockSize:]...); !bytes.Equal(contents(t, to), want) {
					t.Fatal("the target does not have the blocks of the source followed by its own")
				}
			}
		})
	}
}

// Copy does not change a target of another pool, or one that is too small, or if the
// source is not readable.
func TestCopyRefuses(t *testing.T) {
	from := withUUID(t, "from", 20, uuid, copied)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		from string
		to   string
		size units.Bytes
		kind error
	}{
		"another pool's":        {to: withUUID(t, "other", 7, [16]byte{1}, copied), kind: ErrOtherPool},
		"without uuid":          {to: withUUID(t, "none", 7, [16]byte{}, copied), kind: ErrOtherPool},
		"both without uuid":     {from: withUUID(t, "no-from", 7, [16]byte{}, copied), to: withUUID(t, "no-to", 7, [16]byte{}, copied), kind: ErrOtherPool},
		"a filesystem":          {to: writeFile(t, "fs", bytes.Repeat([]byte{7}, copied*blockSize)), kind: ErrNotMetadata},
		"too small a target":    {to: withUUID(t, "small", 7, uuid, copied-1), kind: ErrTruncated},
		"too small a source":    {to: withUUID(t, "large", 7, uuid, copied+1), size: (copied + 1) * BlockSize, kind: ErrTruncated},
		"size of half a block":  {to: withUUID(t, "half", 7, uuid, copied), size: 3*BlockSize + 512},
		"size below a block":    {to: withUUID(t, "nothing", 7, uuid, copied), size: 512},
		"cancelled":             {ctx: ended, to: withUUID(t, "cancelled", 7, uuid, copied), kind: context.Canceled},
		"no source":             {from: filepath.Join(t.TempDir(), "none"), to: withUUID(t, "whole", 7, uuid, copied), kind: os.ErrNotExist},
		"a directory as source": {from: t.TempDir(), to: withUUID(t, "whole", 7, uuid, copied)},
	} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, c.to)
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			if c.from == "" {
				c.from = from
			}
			if c.size == 0 {
				c.size = copied * BlockSize
			}
			if err := Copy(c.ctx, c.from, c.to, c.size); err == nil || c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			if !bytes.Equal(contents(t, c.to), before) {
				t.Error("the target was changed")
			}
		})
	}
}

// Copy opens devices exclusively, and does not overwrite a blank device, because the
// path may belong to another disk.
func TestCopyToDevice(t *testing.T) {
	from := withUUID(t, "from", 20, uuid, copied)
	to := loop(t, withUUID(t, "to", 7, uuid, copied))
	blank := loop(t, writeFile(t, "blank", make([]byte, copied*blockSize)))
	if err := Copy(t.Context(), from, blank, copied*BlockSize); !errors.Is(err, ErrNotMetadata) {
		t.Errorf("to a blank device: got %v, want ErrNotMetadata", err)
	}
	held, err := os.OpenFile(to, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), from, to, copied*BlockSize); !errors.Is(err, fault.Busy) {
		t.Errorf("to a device in use: got %v, want fault.Busy", err)
	}
	held.Close()
	if err := Copy(t.Context(), from, to, copied*BlockSize); err != nil {
		t.Fatal(err)
	}
	kept := writeFile(t, "kept", make([]byte, copied*blockSize))
	if err := Copy(t.Context(), to, kept, copied*BlockSize); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, kept), contents(t, from)) {
		t.Error("a copy to the device and back differs from the source")
	}
}
