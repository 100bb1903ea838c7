package imagetest

import (
	"fmt"
	"io"
)

const tarBlock = 512

// Offsets in GNU's old sparse header: tar(5), "GNU tar archives".
const (
	gnuSparseAt   = 386 // 4 pairs of 12 digits: offset, length
	gnuExtendedAt = 482
	gnuRealSizeAt = 483
	extPairs      = 21 // in a block of further pairs
	extMoreAt     = 504
)

// writeGNUSparse writes an entry as `tar -S` does: the map, then only the data.
func (e Entry) writeGNUSparse(w io.Writer) error {
	if len(e.Path) > 100 {
		return fmt.Errorf("entry %q: its name does not fit a sparse header", e.Path)
	}
	extents := append(e.Content.extents(), extent{e.Content.Size, 0}) // the end, since it ends in a hole
	stored := int64(0)
	for _, x := range extents {
		stored += x.length
	}
	var head [tarBlock]byte
	copy(head[0:], e.Path)
	octal(head[100:108], int64(e.Mode))
	octal(head[108:116], int64(e.UID))
	octal(head[116:124], int64(e.GID))
	octal(head[124:136], stored)
	octal(head[136:148], e.Time.Unix())
	head[156] = 'S'
	copy(head[257:], "ustar  \x00")
	octal(head[gnuRealSizeAt:gnuRealSizeAt+12], e.Content.Size)
	rest := putPairs(head[gnuSparseAt:], extents, 4)
	if len(rest) > 0 {
		head[gnuExtendedAt] = 1
	}
	copy(head[148:156], "        ")
	sum := int64(0)
	for _, b := range head {
		sum += int64(b)
	}
	copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	for len(rest) > 0 {
		var more [tarBlock]byte
		rest = putPairs(more[:], rest, extPairs)
		if len(rest) > 0 {
			more[extMoreAt] = 1
		}
		if _, err := w.Write(more[:]); err != nil {
			return err
		}
	}
	if _, err := io.CopyN(w, newNoise(e.Content.Seed), stored); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, (tarBlock-stored%tarBlock)%tarBlock))
	return err
}

// putPairs writes up to most extents and returns the rest.
func putPairs(to []byte, extents []extent, most int) (rest []extent) {
	n := min(most, len(extents))
	for i, x := range extents[:n] {
		octal(to[24*i:24*i+12], x.offset)
		octal(to[24*i+12:24*i+24], x.length)
	}
	return extents[n:]
}

func octal(field []byte, n int64) {
	copy(field, fmt.Sprintf("%0*o\x00", len(field)-1, n))
}
