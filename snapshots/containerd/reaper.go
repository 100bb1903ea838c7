package containerd

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// reaper gives blocks back in the background, some volumes at a time: a discard
// takes as long as the volume has blocks.
type reaper struct {
	ctx    context.Context
	cancel context.CancelFunc
	turns  chan struct{}

	mu    sync.Mutex
	ended bool
	work  map[chan struct{}]bool // each is closed when it is done
}

const reapedAtOnce = 4

func (r *reaper) begin() {
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.turns = make(chan struct{}, reapedAtOnce)
	r.work = map[chan struct{}]bool{}
}

// end stops what is under way. What is left is reaped by whoever comes next.
func (r *reaper) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.cancel()
	r.wait(context.Background())
}

// wait waits for what is under way now, and not for what comes meanwhile.
func (r *reaper) wait(ctx context.Context) error {
	r.mu.Lock()
	now := slices.Collect(maps.Keys(r.work))
	r.mu.Unlock()
	for _, done := range now {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// do runs work in the background, unless the end has come.
func (r *reaper) do(work func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	done := make(chan struct{})
	r.work[done] = true
	go func() {
		work()
		r.mu.Lock()
		delete(r.work, done)
		r.mu.Unlock()
		close(done)
	}()
}

func (s *Snapshotter) reap(id uint32) { s.reaper.do(func() { s.reapOne(id) }) }

func (s *Snapshotter) reapOne(id uint32) {
	ctx := s.reaper.ctx
	select {
	case s.reaper.turns <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-s.reaper.turns }()
	_, err := s.pool.ReapVolumes(ctx, id)
	if err != nil && ctx.Err() == nil {
		s.options.Log.Warn("blocks of a removed snapshot are not back yet", "pool", s.pool.Name(), "id", id, "error", err)
	}
}
