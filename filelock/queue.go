package filelock

import (
	"context"
	"fmt"
	"sync"
)

// Queue lets the goroutines of a process wait in line for locks of one file. Only
// the first of a line asks the kernel, which cannot be waited for; the others are
// told. The zero value is ready.
type Queue struct {
	mu    sync.Mutex
	lines map[Range]*line
}

// line are those of this process who want a range.
type line struct {
	turn chan struct{} // holds a token while somebody has the turn
	here int           // in the line, the one with the turn too
}

// Acquire is the function of that name.
func (q *Queue) Acquire(ctx context.Context, path string, span Range) (*Lock, error) {
	l := q.enter(span)
	select {
	case l.turn <- struct{}{}:
	default: // who has no time left gets what is free all the same
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			q.leave(span, l)
			return nil, fmt.Errorf("lock %s: %w: %w", path, ErrHeld, ctx.Err())
		}
	}
	pass := func() {
		<-l.turn
		q.leave(span, l)
	}
	lock, err := Acquire(ctx, path, span)
	if err != nil {
		pass()
		return nil, err
	}
	lock.pass = pass
	return lock, nil
}

func (q *Queue) enter(span Range) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[span]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		if q.lines == nil {
			q.lines = map[Range]*line{}
		}
		q.lines[span] = l
	}
	l.here++
	return l
}

func (q *Queue) leave(span Range, l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.here--; l.here == 0 {
		delete(q.lines, span)
	}
}
