package metadata

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// stamped is an image of a pool with devices and that uuid, size blocks long.
func stamped(t *testing.T, name string, devices int, id [16]byte, blocks int) string {
	t.Helper()
	m := newImage(someDevices(devices), 3)
	copy(m.block(0)[offUUID:], id[:])
	seal(m.block(0), superblockSalt)
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

const copied = 600 // blocks: more than one chunk, not a multiple of it

// The target gets all that was asked for and keeps what is behind; it may be
// blank, or the same pool's, cut off in the middle or torn.
func TestCopy(t *testing.T) {
	from := stamped(t, "from", 20, uuid, copied)
	for name, spoil := range map[string]func(b []byte){
		"blank":                    func(b []byte) { clear(b) },
		"the same pool's":          func([]byte) {},
		"cut off":                  func(b []byte) { copy(b[3*blockSize:], bytes.Repeat([]byte{9}, 100*blockSize)) },
		"the superblock half new":  func(b []byte) { clear(b[512:blockSize]) },
		"blank but for old blocks": func(b []byte) { clear(b[:blockSize]) },
	} {
		t.Run(name, func(t *testing.T) {
			to := stamped(t, "to", 7, uuid, copied+2)
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
					t.Fatal("not copied, or too much")
				}
			}
		})
	}
}

// What is not this pool's, too small, or not to be had stays as it is.
func TestCopyRefuses(t *testing.T) {
	from := stamped(t, "from", 20, uuid, copied)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		from string
		to   string
		size units.Bytes
		kind error
	}{
		"another pool's":      {to: stamped(t, "other", 7, [16]byte{1}, copied), kind: ErrOtherPool},
		"no pool's":           {to: stamped(t, "none", 7, [16]byte{}, copied), kind: ErrOtherPool},
		"both no pool's":      {from: stamped(t, "no-from", 7, [16]byte{}, copied), to: stamped(t, "no-to", 7, [16]byte{}, copied), kind: ErrOtherPool},
		"a file system":       {to: writeFile(t, "fs", bytes.Repeat([]byte{7}, copied*blockSize)), kind: ErrNotMetadata},
		"too small a target":  {to: stamped(t, "small", 7, uuid, copied-1), kind: ErrTruncated},
		"too small a source":  {to: stamped(t, "large", 7, uuid, copied+1), size: (copied + 1) * BlockSize, kind: ErrTruncated},
		"half a block":        {to: stamped(t, "half", 7, uuid, copied), size: 3*BlockSize + 512},
		"nothing":             {to: stamped(t, "nothing", 7, uuid, copied), size: 512},
		"cancelled":           {ctx: ended, to: stamped(t, "cancelled", 7, uuid, copied), kind: context.Canceled},
		"no source":           {from: filepath.Join(t.TempDir(), "none"), to: stamped(t, "whole", 7, uuid, copied), kind: os.ErrNotExist},
		"a folder for source": {from: t.TempDir(), to: stamped(t, "whole", 7, uuid, copied)},
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

// A device is claimed, and never written over where it is blank: its path may
// be another disk's.
func TestCopyOntoADevice(t *testing.T) {
	from := stamped(t, "from", 20, uuid, copied)
	to := loop(t, stamped(t, "to", 7, uuid, copied))
	blank := loop(t, writeFile(t, "blank", make([]byte, copied*blockSize)))
	if err := Copy(t.Context(), from, blank, copied*BlockSize); !errors.Is(err, ErrNotMetadata) {
		t.Errorf("onto a blank device: %v", err)
	}
	held, err := os.OpenFile(to, os.O_RDONLY|unix.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := Copy(t.Context(), from, to, copied*BlockSize); !errors.Is(err, ErrBusy) {
		t.Errorf("onto a device in use: %v", err)
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
		t.Error("to the device and back is not the same")
	}
}
