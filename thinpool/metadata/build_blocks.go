package metadata

import (
	"errors"
	"fmt"
	"io"

	"thinctl/units"
)

// ErrNoSpace reports a metadata device that is too small. It has no kind: no pool is full, and a
// larger target is sufficient. A *SpaceError has the size that is needed.
// Builder, Restore.
var ErrNoSpace = errors.New("metadata device too small")

// SpaceError holds the smallest sufficient number of metadata blocks, and the number that
// exists.
type SpaceError struct{ Need, Have uint64 }

func (e *SpaceError) Error() string {
	text := fmt.Sprintf("%v: it needs %d blocks (%v) and has %d", ErrNoSpace, e.Need, units.Bytes(e.Need)*BlockSize,
		e.Have)
	if e.Need > MaxBlocks {
		text += fmt.Sprintf("; the largest metadata has %d", uint64(MaxBlocks))
	}
	return text
}

// Unwrap returns ErrNoSpace.
func (e *SpaceError) Unwrap() error { return ErrNoSpace }

const writeBlocks = 256 // 1 MiB in one write

// blockWriter allocates blocks and joins adjacent blocks into one write. After the end of the
// device it only counts blocks, to report the size that is needed.
type blockWriter struct {
	w     io.WriterAt
	have  uint64
	taken uint64 // including block 0
	place func() uint64
	used  []uint64 // one bit for each block; only with place

	first uint64 // the first pending block
	n     int    // blocks pending
	b     []byte
	spare []byte // receives blocks beyond the end
	err   error
}

func newBlockWriter(w io.WriterAt, have uint64, place func() uint64) *blockWriter {
	bw := &blockWriter{w: w, have: have, taken: 1, place: place, b: aligned(int(min(writeBlocks, have)) * blockSize),
		spare: newBlock()}
	if place != nil {
		bw.used = make([]uint64, have/64+1)
	}
	return bw
}

// alloc allocates a block.
func (w *blockWriter) alloc() (uint64, error) {
	n := w.taken
	if n >= MaxBlocks {
		return 0, &SpaceError{Need: MaxBlocks + 1, Have: w.have}
	}
	w.taken++
	if w.place == nil || n >= w.have {
		return n, nil
	}
	block := w.place()
	if block == 0 || block >= w.have || w.used[block/64]>>(block%64)&1 != 0 {
		return 0, fmt.Errorf("BuildOptions.Allocate returned block %d of %d, which is not free", block, w.have)
	}
	w.used[block/64] |= 1 << (block % 64)
	return block, nil
}

func (w *blockWriter) full() bool { return w.taken > w.have }

// slot returns a zeroed buffer for the content of block. The caller fills it before the next
// call.
func (w *blockWriter) slot(block uint64) ([]byte, error) {
	if block >= w.have {
		clear(w.spare)
		return w.spare, nil
	}
	if w.n > 0 && (block != w.first+uint64(w.n) || w.n == len(w.b)/blockSize) {
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	if w.n == 0 {
		w.first = block
	}
	b := w.b[w.n*blockSize:][:blockSize]
	w.n++
	clear(b)
	return b, nil
}

func (w *blockWriter) flush() error {
	n := w.n
	w.n = 0
	if n == 0 || w.full() || w.err != nil { // a device that is too small is not written
		return w.err
	}
	if _, err := w.w.WriteAt(w.b[:n*blockSize], int64(w.first)*int64(blockSize)); err != nil {
		w.err = fmt.Errorf("write metadata blocks %d to %d: %w", w.first, w.first+uint64(n)-1, err)
	}
	return w.err
}
