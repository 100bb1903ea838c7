package metadata

import (
	"errors"
	"fmt"
	"io"

	"thinctl/units"
)

// ErrNoSpace: the metadata device is too small for what is to be written; a
// *SpaceError says how large it must be. Builder, Restore.
var ErrNoSpace = errors.New("metadata device too small")

// SpaceError says how many metadata blocks are needed, as few as do.
type SpaceError struct{ Need, Have uint64 }

func (e *SpaceError) Error() string {
	text := fmt.Sprintf("%v: %d blocks (%v) are needed, it has %d", ErrNoSpace, e.Need, units.Bytes(e.Need)*BlockSize, e.Have)
	if e.Need > MaxBlocks {
		text += fmt.Sprintf("; no pool can have more than %d", uint64(MaxBlocks))
	}
	return text
}

// Unwrap yields ErrNoSpace.
func (e *SpaceError) Unwrap() error { return ErrNoSpace }

const writeBlocks = 256 // 1 MiB at once

// blockWriter hands out blocks to fill and writes neighbours together. Beyond
// the end of the device it only counts, so that the size needed can be told.
type blockWriter struct {
	w     io.WriterAt
	have  uint64
	taken uint64 // block 0 among them
	place func() uint64
	used  []uint64 // bits, with place only

	first uint64 // of what is pending
	n     int    // blocks pending
	b     []byte
	spare []byte // takes what lies beyond the end
	err   error
}

func newBlockWriter(w io.WriterAt, have uint64, place func() uint64) *blockWriter {
	bw := &blockWriter{w: w, have: have, taken: 1, place: place, b: aligned(int(min(writeBlocks, have)) * blockSize), spare: newBlock()}
	if place != nil {
		bw.used = make([]uint64, have/64+1)
	}
	return bw
}

// alloc takes a free block.
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
		return 0, fmt.Errorf("the allocation hook gave block %d of %d, which is not free", block, w.have)
	}
	w.used[block/64] |= 1 << (block % 64)
	return block, nil
}

func (w *blockWriter) full() bool { return w.taken > w.have }

// slot returns zeros to fill with block's content before the next call.
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
	if n == 0 || w.full() || w.err != nil { // of a device that is too small nothing will be used
		return w.err
	}
	if _, err := w.w.WriteAt(w.b[:n*blockSize], int64(w.first)*int64(blockSize)); err != nil {
		w.err = fmt.Errorf("writing metadata blocks %d to %d: %w", w.first, w.first+uint64(n)-1, err)
	}
	return w.err
}
