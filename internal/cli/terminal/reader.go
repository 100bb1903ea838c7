package terminal

import (
	"context"
	"io"
)

// contextReader is a reader that a context ends, even while a read waits for the other end of a
// pipe.
type contextReader struct {
	ctx    context.Context
	r      io.Reader
	buffer []byte
	got    chan result
}

type result struct {
	n   int
	err error
}

// Interruptible returns a reader that the end of the context interrupts.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	return &contextReader{ctx: ctx, r: r, buffer: make([]byte, 256<<10), got: make(chan result, 1)}
}

// Read implements [io.Reader]. After the end of the context it reads nothing more; a read that is
// still waiting ends with the process.
func (r *contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	part := r.buffer[:min(len(b), len(r.buffer))]
	go func() {
		n, err := r.r.Read(part)
		r.got <- result{n, err}
	}()
	select {
	case <-r.ctx.Done():
		return 0, context.Cause(r.ctx)
	case got := <-r.got:
		return copy(b, part[:got.n]), got.err
	}
}
