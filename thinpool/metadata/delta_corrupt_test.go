package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// corruptible returns an image of a device of 60 blocks, its snapshot with one block written
// again, and an empty device.
func corruptible() (m *image, left, right *modelNode) {
	entries := map[uint64]uint64{}
	for i := range uint64(60) {
		entries[i*2] = i << 24
	}
	left = (&modelNode{}).change(changesOf(entries))
	right = left.change([]change{{key: 40, value: 777 << 24}})
	return pool(map[uint32]*modelNode{1: left, 2: right, 3: {}}), left, right
}

// leafOf returns the leaf that has key.
func (n *modelNode) leafOf(key uint64) *modelNode {
	for !n.leaf() {
		i := len(n.keys) - 1
		for n.keys[i] > key {
			i--
		}
		n = n.children[i]
	}
	return n
}

func TestMappingsCorruption(t *testing.T) {
	m, _, right := corruptible()
	changed := right.leafOf(40).block
	parent := right
	for !parent.children[0].leaf() {
		i := len(parent.keys) - 1
		for parent.keys[i] > 40 {
			i--
		}
		parent = parent.children[i]
	}
	le := binary.LittleEndian
	put32 := func(n uint64, at int, v uint32) func(*image) {
		return func(m *image) { le.PutUint32(m.block(n)[at:], v); setChecksum(m.block(n), nodeSalt) }
	}
	put64 := func(n uint64, at int, v uint64) func(*image) {
		return func(m *image) { le.PutUint64(m.block(n)[at:], v); setChecksum(m.block(n), nodeSalt) }
	}
	child := func(to uint64) func(*image) { return put64(parent.block, nodeHeader+8*modelNodeMax, to) }
	cases := []struct {
		name   string
		damage func(*image)
		want   error
		text   string
	}{
		{"a flipped bit", func(m *image) { m.block(changed)[3000] ^= 4 }, ErrChecksum, fmt.Sprintf("block %d", changed)},
		{"another kind of block", func(m *image) { setChecksum(m.block(changed), bitmapSalt) }, ErrChecksum, "a space map bitmap where a btree node"},
		{"a misplaced node", func(m *image) { copy(m.block(changed), m.block(parent.block)) }, ErrCorrupt, "has the block number"},
		{"both flags", put32(changed, 4, 3), ErrCorrupt, "neither internal nor leaf"},
		{"values of 24 bytes", put32(changed, 24, 24), ErrCorrupt, "values of 24 bytes"},
		{"more entries than fit", put32(changed, 16, modelNodeMax+1), ErrCorrupt, "where 6 fit"},
		{"a max that does not fit", put32(changed, 20, 0xffffffff), ErrCorrupt, "do not fit"},
		{"an empty leaf", put32(changed, 16, 0), ErrCorrupt, "an empty node"},
		{"descending keys", put64(changed, nodeHeader+8, 0), ErrCorrupt, "key 0 follows"},
		{"a key below the parent's", put64(changed, nodeHeader, 0), ErrCorrupt, "under a parent's key"},
		{"a key at the parent's next", put64(changed, nodeHeader+8*(len(right.leafOf(40).keys)-1), 1<<60), ErrCorrupt, "reaches the parent's next"},
		{"a leaf too high", child(parent.block + 1), ErrCorrupt, ""},
		{"an internal node as deep as leaves", put32(changed, 4, flagInternal), ErrCorrupt, "an internal node"},
		{"a leaf that is not deep", put32(parent.block, 4, flagLeaf), ErrCorrupt, "levels "},
		{"a child beyond the end", child(1 << 40), ErrCorrupt, "a tree points to block"},
		{"the superblock as a child", child(0), ErrCorrupt, "a tree points to block 0"},
		{"a node its own child", child(parent.block), ErrCorrupt, ""},
		{"a child that is the root", child(right.block), ErrCorrupt, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := &image{b: bytes.Clone(m.b)}
			c.damage(bad)
			_, err := readRuns(bad.reader(), 2)
			for _, pair := range [][2]uint32{{1, 2}, {2, 1}, {2, 3}} {
				_, other := deltaOf(countReads(bad), pair[0], pair[1], DeltaOptions{Same: pair[0] == 2})
				err = errors.Join(err, other)
				if !errors.Is(other, c.want) || !strings.Contains(other.Error(), c.text) {
					t.Errorf("delta of %v: got %v, want %q with %q", pair, other, c.want, c.text)
				}
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("runs: got %v, want %q with %q", err, c.want, c.text)
			}
			if _, err := readRuns(bad.reader(), 1); err != nil {
				t.Errorf("runs of the other device: %v", err)
			}
		})
	}
}

// A flipped bit in any block is an error exactly if the block is read.
func TestEveryBlockReadIsChecked(t *testing.T) {
	m, left, right := corruptible()
	sound := countReads(m)
	want, err := deltaOf(sound, 1, 2, DeltaOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(naive(left, right, DeltaOptions{}), want); diff != "" {
		t.Fatal(diff)
	}
	for n := 1; n < len(m.b)/blockSize; n++ {
		bad := &image{b: bytes.Clone(m.b)}
		bad.block(uint64(n))[4000] ^= 1
		got, err := deltaOf(countReads(bad), 1, 2, DeltaOptions{})
		if read := sound.blocks[n].Load() > 0; read != errors.Is(err, ErrChecksum) || !read && !cmp.Equal(want, got) {
			t.Errorf("block %d (read: %v): got %v", n, read, err)
		}
	}
}

// A short device, or a failed read, is an error if the block is needed.
func TestReadsThatFail(t *testing.T) {
	m, _, _ := corruptible()
	blocks := len(m.b) / blockSize
	for n := 1; n < blocks-1; n++ { // the last block is the held root
		short := &image{b: m.b[:n*blockSize+100]}
		for _, do := range []func(io.ReaderAt) error{
			func(r io.ReaderAt) error { _, err := readRuns(r, 1); return err },
			func(r io.ReaderAt) error {
				_, err := deltaOf(countReads(short), 1, 2, DeltaOptions{Same: true})
				return err
			},
		} {
			if err := do(short.reader()); err == nil || !errors.Is(err, ErrTruncated) {
				t.Errorf("device ends in block %d of %d: got %v, want ErrTruncated", n, blocks, err)
			}
		}
		broken := errors.New("input/output error")
		bad := failing{m, uint64(n), broken}
		_, err := readRuns(bad, 1)
		var e *BlockError
		if err != nil && (!errors.Is(err, broken) || !errors.As(err, &e) || e.Block != uint64(n)) {
			t.Errorf("read of block %d fails: got %v, want its error and number", n, err)
		}
	}
}

// failing is a reader that fails if the range includes block.
type failing struct {
	m     *image
	block uint64
	err   error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	at := int64(f.block) * int64(blockSize)
	if off <= at && at < off+int64(len(p)) {
		return 0, f.err
	}
	return f.m.reader().ReadAt(p, off)
}
