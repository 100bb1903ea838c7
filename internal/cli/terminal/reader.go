package terminal

import (
	"context"
	"io"
)

// waiting is a reader that a context ends, also while it waits for what may never
// come: a pipe's other end.
type waiting struct {
	ctx    context.Context
	r      io.Reader
	buffer []byte
	got    chan arrived
}

type arrived struct {
	n   int
	err error
}

func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	return &waiting{ctx: ctx, r: r, buffer: make([]byte, 256<<10), got: make(chan arrived, 1)}
}

// Read implements [io.Reader]. Once the context has ended nothing more is read;
// what still waits then ends with the process.
func (w *waiting) Read(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	part := w.buffer[:min(len(b), len(w.buffer))]
	go func() {
		n, err := w.r.Read(part)
		w.got <- arrived{n, err}
	}()
	select {
	case <-w.ctx.Done():
		return 0, context.Cause(w.ctx)
	case got := <-w.got:
		return copy(b, part[:got.n]), got.err
	}
}
