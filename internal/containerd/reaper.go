package containerd

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// reaper gives blocks back in the background, some volumes at a time: a discard
// takes as long as the volume has blocks.
type reaper struct {
	ctx    context.Context
	cancel context.CancelFunc
	turns  chan struct{}

	mu    sync.Mutex
	ended bool
	done  int                    // pieces of work so far
	work  map[chan struct{}]bool // each is closed when it is done
	all   sync.WaitGroup         // those who linger too
}

const reapedAtOnce = 4

// lingering is how long after the last removal it is written down that its blocks
// are back, unless another change does it.
const lingering = time.Second

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
	r.all.Wait()
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

// do runs work in the background, unless the end has come, and after it note, if
// it stays the last for a while.
func (r *reaper) do(work, note func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	done := make(chan struct{})
	r.work[done] = true
	r.all.Go(func() {
		work()
		r.mu.Lock()
		delete(r.work, done)
		r.done++
		mine := r.done
		r.mu.Unlock()
		close(done)
		if r.linger(mine) {
			note()
		}
	})
}

// linger waits, and tells whether nothing is under way and nothing else was done
// meanwhile.
func (r *reaper) linger(after int) bool {
	timer := time.NewTimer(lingering)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done == after && len(r.work) == 0
}

func (s *Snapshotter) reap(id uint32) {
	s.reaper.do(func() { s.reapOne(id) }, s.noteReaped)
}

// noteReaped writes down that the blocks of removed volumes are back.
func (s *Snapshotter) noteReaped() {
	if err := s.pool.NoteReaped(s.reaper.ctx); err != nil && s.reaper.ctx.Err() == nil {
		s.options.Log.Warn("what was removed could not be noted", "pool", s.pool.Name(), "error", err)
	}
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
