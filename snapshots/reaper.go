package snapshots

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// reaper gives blocks back in the background, several volumes at a time. A discard
// takes longer the more blocks the volume has.
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

// lingering is the delay after the last removal until the returned blocks are recorded,
// unless another change records them earlier.
const lingering = time.Second

func (r *reaper) begin() {
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.turns = make(chan struct{}, reapedAtOnce)
	r.work = map[chan struct{}]bool{}
}

// end stops the work in progress. The next process or reap completes it.
func (r *reaper) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.cancel()
	r.all.Wait()
}

// wait waits for the work that is in progress now, and not for work that begins later.
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

// do runs work in the background, unless the reaper has ended. It runs note after it if
// no other work follows for a while.
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

// linger waits, and reports whether no work is in progress and none was done in the
// meantime.
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

// noteReaped records that the blocks of removed volumes are given back.
func (s *Snapshotter) noteReaped() {
	if err := s.pool.NoteReaped(s.reaper.ctx); err != nil && s.reaper.ctx.Err() == nil {
		s.options.Log.Warn("could not record returned blocks", "pool", s.pool.Name(), "error", err)
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
		s.options.Log.Warn("could not give back the blocks of a removed snapshot",
			"pool", s.pool.Name(), "id", id, "error", err)
	}
}
