package metadata

import (
	"cmp"
	"context"
	"io"
	"slices"
)

const (
	// sparseReadBlocks is small, so that the leaves below one node take several concurrent
	// reads.
	sparseReadBlocks = 64 // blocks
	// sparseReads is the number of concurrent reads. It is enough to use a solid-state disk
	// fully when blocks are far apart.
	sparseReads = 8
)

// readSparse reads blocks, in any order, into buf, which has space for exactly these. loaded[i]
// becomes the content of blocks[i]. If a read fails, it stays nil: the caller then reads the
// block alone and gets its error, and other blocks are not affected.
func readSparse(ctx context.Context, r io.ReaderAt, blocks []uint32, buf []byte, loaded [][]byte) {
	order := make([]int, len(blocks))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(blocks[a], blocks[b]) })
	sorted := make([]uint32, len(blocks))
	for i, at := range order {
		sorted[i] = blocks[at]
	}
	// It fails only if ctx ends, which the caller checks.
	_ = runWorkers(ctx, sparseReads, mergeNear(sorted, 1, sparseReadBlocks), func(_ int, c chunk) error {
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
