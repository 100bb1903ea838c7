package compression

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"thinctl/units"
)

// xzBlocks reads an xz stream and rejects blocks with a dictionary larger than the
// window. The library allocates the size in each block's header, which is up to 4 GiB.
// xzBlocks parses the structure of the stream (the .xz file format 1.0.4, 2 and 3; the
// chunks of LZMA2 as in lzma/reader2.go of the library).
type xzBlocks struct {
	r      io.Reader
	window units.Bytes
	next   xzPart
	held   []byte // the part as far as it was read
	skip   int64  // bytes that are passed on without parsing
	coded  bool   // these bytes are the compressed data of a chunk
	data   int64  // length of the block's chunks so far
	check  int64  // length of a block's check
}

type xzPart int

const (
	xzStreamHeader xzPart = iota
	xzBlockHeader
	xzChunk
	xzIndex // no block follows
)

func (b *xzBlocks) Read(p []byte) (int, error) {
	// The library reads compressed data one byte at a time (lzma.ByteReader). A longer
	// read is for a structure that has not been checked.
	if b.skip > 0 && b.coded && len(p) > 1 {
		return 0, fmt.Errorf("%w: an xz chunk with data after its end", ErrDamaged)
	}
	n, err := b.r.Read(p)
	if follow := b.follow(p[:n]); follow != nil {
		return 0, follow
	}
	if errors.Is(err, io.EOF) && b.next != xzIndex {
		err = io.ErrUnexpectedEOF // the library takes io.EOF at the end of a block for the end of the stream
	}
	return n, err
}

func (b *xzBlocks) follow(p []byte) error {
	for len(p) > 0 && b.next != xzIndex {
		if b.skip > 0 {
			n := min(b.skip, int64(len(p)))
			b.skip -= n
			p = p[n:]
			continue
		}
		b.held, p = append(b.held, p[0]), p[1:]
		if len(b.held) < b.length() {
			continue
		}
		if err := b.part(); err != nil {
			return err
		}
		b.held = b.held[:0]
	}
	return nil
}

// length returns the length of the part that begins with the bytes held.
func (b *xzBlocks) length() int {
	first := int(b.held[0])
	switch {
	case b.next == xzStreamHeader:
		return 12
	case b.next == xzBlockHeader && first > 0:
		return (first + 1) * 4
	case b.next == xzChunk && first >= 0xc0: // with properties
		return 6
	case b.next == xzChunk && first >= 0x80:
		return 5
	case b.next == xzChunk && first > 0: // not compressed
		return 3
	}
	return 1
}

// part handles the part that is held.
func (b *xzBlocks) part() error {
	first := b.held[0]
	switch {
	case b.next == xzStreamHeader:
		b.check = map[byte]int64{0: 0, 1: 4, 4: 8, 10: 32}[b.held[7]&15] // the library supports no others
		b.next = xzBlockHeader
	case b.next == xzBlockHeader && first == 0:
		b.next = xzIndex
	case b.next == xzBlockHeader:
		b.next, b.data = xzChunk, 0
		return checkDictionary(b.held[1:], b.window)
	case first == 0: // the end of the block's chunks
		b.next, b.coded = xzBlockHeader, false
		b.skip = -(b.data+1)&3 + b.check
	default:
		size := b.held[1:3]
		if b.coded = first >= 0x80; b.coded {
			size = b.held[3:5]
		}
		b.skip = int64(binary.BigEndian.Uint16(size)) + 1
		b.data += int64(len(b.held)) + b.skip
	}
	return nil
}

// checkDictionary checks a block's header without its first byte.
func checkDictionary(block []byte, window units.Bytes) error {
	flags, block := block[0], block[1:]
	for _, present := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&present == 0 {
			continue
		}
		_, n := binary.Uvarint(block)
		if n <= 0 {
			return ErrDamaged
		}
		block = block[n:]
	}
	// The library supports no other filter than LZMA2: id 0x21, one byte.
	if len(block) < 3 || block[0] != 0x21 || block[1] != 1 {
		return fmt.Errorf("%w: xz with another filter than LZMA2", ErrUnsupported)
	}
	dictionary, err := lzma.DecodeDictCap(block[2])
	if err != nil {
		return err
	}
	if units.Bytes(dictionary) > window {
		return fmt.Errorf("%w: %s of at most %s", ErrWindow, units.Bytes(dictionary), window)
	}
	return nil
}
