package containerd

import (
	"context"
	"sync"
)

// reaper gives blocks back in the background, some volumes at a time: a discard
// takes as long as the volume has blocks.
type reaper struct {
	ctx    context.Context
	cancel context.CancelFunc
	turns  chan struct{}
	mu     sync.Mutex // orders begun work before the end
	ended  bool
	work   sync.WaitGroup
}

const reapedAtOnce = 4

func (r *reaper) begin() {
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.turns = make(chan struct{}, reapedAtOnce)
}

// end waits for what is under way. What is left is reaped by whoever comes next.
func (r *reaper) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
}

func (s *Snapshotter) reap(id uint32) {
	s.reaper.mu.Lock()
	defer s.reaper.mu.Unlock()
	if s.reaper.ended {
		return
	}
	s.reaper.work.Go(func() { s.reapOne(id) })
}

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
