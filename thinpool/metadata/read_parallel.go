package metadata

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	chunkBlocks = 256 // 1 MiB in one read
	gapBlocks   = 8   // largest distance of two blocks that one read joins
)

// blockReader reads many blocks. It joins adjacent blocks into one read and runs several reads
// concurrently, to keep the device and the processors busy.
type blockReader struct {
	r       io.ReaderAt
	workers int
	buffers [][]byte // one for each worker, kept between calls
}

func newBlockReader(r io.ReaderAt, workers int) *blockReader {
	if workers <= 0 {
		workers = 4 * runtime.GOMAXPROCS(0) // most workers wait for the device
	}
	return &blockReader{r: r, workers: workers, buffers: make([][]byte, workers)}
}

// chunk is a range of indices in the list of blocks, for one read.
type chunk struct{ from, to int }

// each calls visit with the content of blocks[i], in any order and from several goroutines,
// which worker distinguishes. blocks must ascend. b is nil if err is set, and is valid only
// during the call. The first error of visit ends the reading.
func (f *blockReader) each(ctx context.Context, blocks []uint32,
	visit func(worker, i int, b []byte, err error) error) error {
	return runWorkers(ctx, f.workers, mergeNear(blocks, gapBlocks, chunkBlocks), func(worker int, c chunk) error {
		return f.readChunk(worker, blocks, c, visit)
	})
}

// runWorkers runs do for all chunks in several workers, until the first error.
func runWorkers(ctx context.Context, workers int, chunks []chunk, do func(worker int, c chunk) error) error {
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

// mergeNear joins ascending blocks into chunks of at most the given number of blocks, with
// distances up to gap; 1 joins only adjacent blocks.
func mergeNear(blocks []uint32, gap, most uint32) []chunk {
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

func (f *blockReader) readChunk(worker int, blocks []uint32, c chunk, visit func(int, int, []byte, error) error) error {
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
		if !whole && at+blockSize > n { // read it alone, to get the error of this block
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
