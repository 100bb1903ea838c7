package metadata

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDevicesOfTreesOfAllHeights(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 9, 10, 100, 2000} {
		want := someDevices(n)
		m := newImage(want, 3)
		got, err := read(m.reader())
		if err != nil {
			t.Fatalf("%d devices: %v", n, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d devices (-want +got):\n%s", n, diff)
		}
	}
}

func read(r io.ReaderAt) ([]Device, error) {
	root, err := ReadSuperblock(r)
	if err != nil {
		return nil, err
	}
	return Devices(r, root)
}

// The image has 20 devices, 3 in a node: leaves in blocks 1-7, internal nodes in 8-10, the root
// in 11.
func TestDevicesCorruption(t *testing.T) {
	le := binary.LittleEndian
	put32 := func(n uint64, at int, v uint32) func(*image) {
		return func(m *image) { le.PutUint32(m.block(n)[at:], v); setChecksum(m.block(n), nodeSalt) }
	}
	child := func(n uint64, i int, to uint64) func(*image) {
		return func(m *image) { m.setChild(n, i, to); setChecksum(m.block(n), nodeSalt) }
	}
	key := func(n uint64, i int, k uint64) func(*image) {
		return func(m *image) { m.setKey(n, i, k); setChecksum(m.block(n), nodeSalt) }
	}
	cases := []struct {
		name   string
		damage func(*image)
		want   error
		text   string
	}{
		{"a flipped bit", func(m *image) { m.block(2)[3000] ^= 4 }, ErrChecksum, "block 2"},
		{"another kind of block", func(m *image) { setChecksum(m.block(3), bitmapSalt) }, ErrChecksum, "a space map bitmap where a btree node"},
		{"a zeroed node", func(m *image) { clear(m.block(4)) }, ErrChecksum, "block 4"},
		{"a misplaced node", func(m *image) { copy(m.block(4), m.block(5)) }, ErrCorrupt, "has the block number 5"},
		{"no flags", put32(1, 4, 0), ErrCorrupt, "neither internal nor leaf"},
		{"both flags", put32(1, 4, 3), ErrCorrupt, "neither internal nor leaf"},
		{"a leaf's values of 8 bytes", put32(1, 24, 8), ErrCorrupt, "values of 8 bytes"},
		{"an internal node's values of 24 bytes", put32(8, 24, 24), ErrCorrupt, "values of 24 bytes"},
		{"more entries than fit", put32(1, 16, 127), ErrCorrupt, "127 entries where 126 fit"},
		{"as many as can be", put32(1, 16, 0xffffffff), ErrCorrupt, "entries where 126 fit"},
		{"a max that does not fit", put32(1, 20, 128), ErrCorrupt, "do not fit"},
		{"a max that overflows 32 bits", put32(1, 20, 0xffffffff), ErrCorrupt, "do not fit"},
		{"a max that wraps to fit", put32(1, 20, 0x8000001), ErrCorrupt, "do not fit"},
		{"an empty leaf", put32(2, 16, 0), ErrCorrupt, "an empty node"},
		{"an empty root of many", put32(11, 16, 0), ErrCorrupt, "an empty node"},
		{"equal keys", key(1, 1, 1), ErrCorrupt, "key 1 follows 1"},
		{"descending keys", key(1, 2, 2), ErrCorrupt, "key 2 follows 4"},
		{"a key below the parent's", key(2, 0, 9), ErrCorrupt, "key 9 under a parent's key 10"},
		{"a key at the parent's next", key(1, 2, 10), ErrCorrupt, "key 10 reaches"},
		{"a key at the grandparent's next", key(3, 2, 28), ErrCorrupt, "key 28 reaches"},
		{"a device id of 25 bits", key(7, 1, 1<<24), ErrCorrupt, "device id 16777216"},
		{"a child beyond the end", child(8, 0, 12), ErrCorrupt, "block 12 of 12"},
		{"a child far beyond", child(8, 0, 1<<63), ErrCorrupt, "of 12"},
		{"the superblock as a child", child(8, 0, 0), ErrCorrupt, "block 0 of 12"},
		{"a node its own child", child(11, 0, 11), ErrCorrupt, "key 55 reaches"},
		{"a child that is its grandparent", child(8, 0, 11), ErrCorrupt, "key 55 reaches"},
		{"a shared child", child(8, 1, 1), ErrCorrupt, "key 1 under a parent"},
		{"the details at the superblock", func(m *image) { m.superblock(0, 0) }, ErrCorrupt, "block 0 of 12"},
		{"a file cut off", func(m *image) { m.b = m.b[:11*blockSize] }, ErrTruncated, "0 of 4096 bytes"},
		{"a file cut off inside a block", func(m *image) { m.b = m.b[:11*blockSize+100] }, ErrTruncated, "100 of 4096 bytes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newImage(someDevices(20), 3)
			c.damage(m)
			got, err := read(m.reader())
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q with %q", err, c.want, c.text)
			}
			if got != nil {
				t.Errorf("got %d devices with the error, want none", len(got))
			}
		})
	}
}

func TestDevicesOfTooDeepTree(t *testing.T) {
	m := newImage(someDevices(1), 1)
	leaf, top := uint64(1), uint64(1)
	for range maxDepth {
		n := m.grow()
		m.node(n, flagInternal, 1, 252, 8)
		m.setKey(n, 0, 1)
		m.setChild(n, 0, top)
		setChecksum(m.block(n), nodeSalt)
		top = n
	}
	m.superblock(0, top)
	if _, err := read(m.reader()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "deeper than") {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	m.superblock(0, top-1)
	if _, err := read(m.reader()); err != nil {
		t.Errorf("tree of the maximum depth %d above leaf %d: %v", maxDepth, leaf, err)
	}
}

func TestHeldRoot(t *testing.T) {
	want := someDevices(5)
	m := newImage(want, 3)
	details := binary.LittleEndian.Uint64(m.block(0)[offDetailsRoot:])
	held := m.grow()
	m.superblock(held, details)
	clear(m.block(0)[offDetailsRoot:][:8]) // only the copy has the details
	setChecksum(m.block(0), superblockSalt)

	root, err := HeldRoot(m.reader(), held)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Devices(m.reader(), root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}

	binary.LittleEndian.PutUint64(m.block(held)[offHeldRoot:], 3)
	setChecksum(m.block(held), superblockSalt)
	for block, want := range map[uint64]error{
		1: ErrNotMetadata, held: ErrCorrupt, held + 1: ErrTruncated, MaxBlocks: ErrCorrupt, 1 << 60: ErrCorrupt,
	} {
		if _, err := HeldRoot(m.reader(), block); !errors.Is(err, want) {
			t.Errorf("block %d: got %v, want %v", block, err, want)
		}
	}
	if _, err := HeldRoot(m.reader(), 0); err == nil {
		t.Error("got no error for block 0 as a held root")
	}
}
