package metadata

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	chunkBlocks = 256 // 1 MiB at once
	gapBlocks   = 8   // read over rather than asked for apart
)

// fetcher reads many blocks at once, neighbours together, with several reads
// under way so that the device and the processors are busy at the same time.
type fetcher struct {
	r       io.ReaderAt
	workers int
	buffers [][]byte // one for each worker, kept between calls
}

func newFetcher(r io.ReaderAt, workers int) *fetcher {
	if workers <= 0 {
		workers = 4 * runtime.GOMAXPROCS(0) // most of them wait for the device
	}
	return &fetcher{r: r, workers: workers, buffers: make([][]byte, workers)}
}

type chunk struct{ from, to int } // indices of the list of blocks

// each calls visit for blocks[i] of an ascending list, in no order and from
// several goroutines; worker tells them apart. b is nil where err is set, and
// only borrowed. The first error that visit returns ends the reading.
func (f *fetcher) each(ctx context.Context, blocks []uint32, visit func(worker, i int, b []byte, err error) error) error {
	return share(ctx, f.workers, coalesce(blocks, gapBlocks, chunkBlocks), func(worker int, c chunk) error {
		return f.chunk(worker, blocks, c, visit)
	})
}

// share has workers take chunks until none is left or one fails.
func share(ctx context.Context, workers int, chunks []chunk, do func(worker int, c chunk) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	work := func(worker int) {
		for ctx.Err() == nil {
			n := next.Add(1) - 1
			if n >= int64(len(chunks)) {
				return
			}
			if err := do(worker, chunks[n]); err != nil {
				stop(err)
				return
			}
		}
	}
	var group sync.WaitGroup
	for worker := 1; worker < min(workers, len(chunks)); worker++ {
		group.Go(func() { work(worker) })
	}
	work(0)
	group.Wait()
	return context.Cause(ctx)
}

// coalesce puts those of ascending blocks together that lie up to gap apart, 1
// being neighbours, and within most.
func coalesce(blocks []uint32, gap, most uint32) []chunk {
	var chunks []chunk
	for i := 0; i < len(blocks); {
		j := i + 1
		for j < len(blocks) && blocks[j]-blocks[j-1] <= gap && blocks[j]-blocks[i] < most {
			j++
		}
		chunks = append(chunks, chunk{i, j})
		i = j
	}
	return chunks
}

func (f *fetcher) chunk(worker int, blocks []uint32, c chunk, visit func(int, int, []byte, error) error) error {
	if f.buffers[worker] == nil {
		f.buffers[worker] = aligned(chunkBlocks * blockSize)
	}
	first := blocks[c.from]
	b := f.buffers[worker][:(int(blocks[c.to-1]-first)+1)*blockSize]
	n, err := f.r.ReadAt(b, int64(first)*int64(blockSize))
	whole := err == nil || n == len(b)
	for i := c.from; i < c.to; i++ {
		at := int(blocks[i]-first) * blockSize
		one, err := b[at:at+blockSize], error(nil)
		if !whole && at+blockSize > n { // alone, to know which block it was
			err = readBlock(f.r, uint64(blocks[i]), one)
		}
		if err != nil {
			one = nil
		}
		if err := visit(worker, i, one, err); err != nil {
			return err
		}
	}
	return nil
}
