package layertar

import (
	"context"
	"sync"
)

// queueLength is the largest number of items that wait for the tree.
const queueLength = 32

// item is an entry, or data of the previous entry.
type item struct {
	entry *entry // nil for data

	data   []byte
	offset int64            // of data in the file
	buf    *[pieceSize]byte // the pooled buffer of data, if any
}

// queue carries items from the scan to the tree.
type queue struct {
	items chan item
	pool  sync.Pool
}

func newQueue() *queue {
	return &queue{
		items: make(chan item, queueLength),
		pool:  sync.Pool{New: func() any { return new([pieceSize]byte) }},
	}
}

func (q *queue) put(ctx context.Context, it item) error {
	select {
	case q.items <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end marks the end of the layer.
func (q *queue) end() { close(q.items) }

// next returns the next item, and false after the last one.
func (q *queue) next(ctx context.Context) (item, bool, error) {
	select {
	case it, more := <-q.items:
		return it, more, nil
	case <-ctx.Done():
		return item{}, false, context.Cause(ctx)
	}
}

// data returns an item for size bytes at offset, which the caller fills in.
func (q *queue) data(offset, size int64) item {
	if size < pieceSize/2 {
		return item{data: make([]byte, size), offset: offset}
	}
	buf := q.pool.Get().(*[pieceSize]byte)
	return item{data: buf[:size], offset: offset, buf: buf}
}

// recycle returns the buffer of an item to the pool.
func (q *queue) recycle(it item) {
	if it.buf != nil {
		q.pool.Put(it.buf)
	}
}
