package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"thinctl/fault"

	"github.com/google/go-cmp/cmp"
)

func TestReadSuperblockFields(t *testing.T) {
	want := Superblock{
		Flags: 1, UUID: [16]byte{1, 2, 3, 15: 16}, Version: 2, Time: 7, TransactionID: 1 << 40, HeldRoot: 9,
		DataSpaceMap:     SpaceMap{Blocks: 11, Allocated: 12, BitmapRoot: 13, RefCountRoot: 14},
		MetadataSpaceMap: SpaceMap{Blocks: 21, Allocated: 22, BitmapRoot: 23, RefCountRoot: 24},
		MappingRoot:      31, DetailsRoot: 32, DataBlockSize: 256, MetadataBlockSize: 8, MetadataBlocks: 33,
		Compat: 41, CompatRO: 42,
	}
	// The offsets are those of the kernel's struct, not this package's constants.
	b, le := make([]byte, 4096), binary.LittleEndian
	le.PutUint32(b[4:], 1)
	copy(b[16:], want.UUID[:])
	le.PutUint64(b[32:], 27022010)
	le.PutUint32(b[40:], 2)
	le.PutUint32(b[44:], 7)
	le.PutUint64(b[48:], 1<<40)
	le.PutUint64(b[56:], 9)
	for i := range uint64(4) {
		le.PutUint64(b[64+8*i:], 11+i)
		le.PutUint64(b[192+8*i:], 21+i)
	}
	le.PutUint64(b[320:], 31)
	le.PutUint64(b[328:], 32)
	le.PutUint32(b[336:], 256)
	le.PutUint32(b[340:], 8)
	le.PutUint64(b[344:], 33)
	le.PutUint32(b[352:], 41)
	le.PutUint32(b[356:], 42)
	setChecksum(b, superblockSalt)
	got, err := ReadSuperblock(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("superblock (-want +got):\n%s", diff)
	}
	if !got.NeedsCheck() {
		t.Error("NeedsCheck() = false, want true")
	}
}

func TestReadSuperblockCorruption(t *testing.T) {
	le := binary.LittleEndian
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], v); setChecksum(b, superblockSalt); return b }
	}
	cases := []struct {
		name   string
		damage func([]byte) []byte
		want   error
		text   string
	}{
		{"zeros", func(b []byte) []byte { clear(b); return b }, ErrEmpty, "4096 zero bytes"},
		{"zeros but the last byte", func(b []byte) []byte { clear(b); b[4095] = 1; return b }, ErrNotMetadata, "magic 0"},
		{"another magic", put(offMagic, 6142003), ErrNotMetadata, "magic 6142003 instead of 27022010"},
		{"a flipped bit in a field", func(b []byte) []byte { b[50] ^= 1; return b }, ErrChecksum, "stored 0x"},
		{"a flipped bit after the last field", func(b []byte) []byte { b[4000] ^= 1; return b }, ErrChecksum, "computed 0x"},
		{"checksum of a node", func(b []byte) []byte { setChecksum(b, nodeSalt); return b }, ErrChecksum, "a btree node where a superblock"},
		{"another block number", put(offBlock, 5), ErrCorrupt, "has the block number 5"},
		{"version 0", put(offVersion, 0), fault.Unsupported, "version 0"},
		{"version 3", put(offVersion, 3), fault.Unsupported, "version 3"},
		{"an incompatible feature", put(offIncompat, 1), fault.Unsupported, "features 0x1"},
		{"no data block size", put(offDataBlockSize, 0), ErrCorrupt, "data blocks of 0 sectors"},
		{"an odd data block size", put(offDataBlockSize, 129), ErrCorrupt, "data blocks of 129 sectors"},
		{"short block", func(b []byte) []byte { return b[:4095] }, ErrTruncated, "4095 of 4096"},
		{"no content", func(b []byte) []byte { return nil }, ErrTruncated, "0 of 4096"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := c.damage(newImage(nil, 3).block(0))
			got, err := ReadSuperblock(bytes.NewReader(b))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q with %q", err, c.want, c.text)
			}
			if got != (Superblock{}) {
				t.Error("got a superblock with the error, want none")
			}
			path := writeFile(t, "meta", b)
			if _, err := ReadSuperblockFile(path); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("read from a file: got %v, want %q", err, c.want)
			}
		})
	}
}

func TestReadSuperblockVersion1(t *testing.T) {
	m := newImage(nil, 3)
	binary.LittleEndian.PutUint32(m.block(0)[offVersion:], 1)
	setChecksum(m.block(0), superblockSalt)
	if _, err := ReadSuperblock(m.reader()); err != nil {
		t.Error(err)
	}
}

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestReadErrorIsReturned(t *testing.T) {
	_, err := ReadSuperblock(brokenDisk{})
	if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want io.ErrClosedPipe alone", err)
	}
}
