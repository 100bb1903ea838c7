package metadata

import (
	"cmp"
	"context"
	"io"
	"slices"
)

const (
	// longestRead is short enough that the leaves below one node are several reads.
	longestRead = 64 // blocks
	// readsAtOnce is what keeps a solid-state disk busy where blocks lie apart.
	readsAtOnce = 8
)

// fetch reads some blocks, in any order, into buf, which holds as many, and
// no others. loaded[i] becomes the content of blocks[i]. Where a read fails it
// stays nil: whoever needs that block reads it alone and learns why, and nobody
// fails over a neighbour.
func fetch(ctx context.Context, r io.ReaderAt, blocks []uint32, buf []byte, loaded [][]byte) {
	order := make([]int, len(blocks))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(blocks[a], blocks[b]) })
	sorted := make([]uint32, len(blocks))
	for i, at := range order {
		sorted[i] = blocks[at]
	}
	// It fails only with ctx, whose end the caller looks for.
	_ = share(ctx, readsAtOnce, coalesce(sorted, 1, longestRead), func(_ int, c chunk) error {
		first := sorted[c.from]
		part := buf[c.from*blockSize:][:int(sorted[c.to-1]-first+1)*blockSize]
		if n, _ := r.ReadAt(part, int64(first)*int64(blockSize)); n < len(part) {
			return nil
		}
		for i := c.from; i < c.to; i++ {
			at := int(sorted[i]-first) * blockSize
			loaded[order[i]] = part[at : at+blockSize : at+blockSize]
		}
		return nil
	})
}
