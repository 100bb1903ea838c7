package metadata

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// longestRead keeps one read short of what a device would split anyway.
	longestRead = 64 // blocks
	// readsAtOnce is what keeps a solid-state disk busy where blocks lie apart.
	readsAtOnce = 8
)

// fetch reads blocks into buf, which holds as many, in the order of the disk:
// neighbours in one read, several reads at once. loaded[i] becomes the content
// of blocks[i]. Where a read fails it stays nil: whoever needs that block reads
// it alone and learns why, and nobody fails over a neighbour.
func fetch(ctx context.Context, r io.ReaderAt, blocks []uint64, buf []byte, loaded [][]byte) {
	order := make([]int, len(blocks))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(blocks[a], blocks[b]) })

	var ends []int
	for begin := 0; begin < len(order); {
		end := begin + 1
		for end < len(order) && end-begin < longestRead && blocks[order[end]] == blocks[order[end-1]]+1 {
			end++
		}
		ends = append(ends, end)
		begin = end
	}
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(ends) {
				return
			}
			begin := 0
			if i > 0 {
				begin = ends[i-1]
			}
			part := buf[begin*blockSize : ends[i]*blockSize]
			if n, _ := r.ReadAt(part, int64(blocks[order[begin]])*int64(blockSize)); n < len(part) {
				continue
			}
			for k := begin; k < ends[i]; k++ {
				loaded[order[k]] = buf[k*blockSize:][:blockSize:blockSize]
			}
		}
	}
	var group sync.WaitGroup
	for range min(readsAtOnce, len(ends)) - 1 {
		group.Go(work)
	}
	work()
	group.Wait()
}
