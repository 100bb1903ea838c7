package filelock_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thinctl/filelock"
)

// One has it at a time, whichever way it was asked for; who gives up leaves the
// line to the others.
func TestQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	span := filelock.Range{Start: 7, Length: 1}
	var queue filelock.Queue
	var inside, entered int
	var guard sync.Mutex
	hold := func(lock *filelock.Lock) {
		guard.Lock()
		inside++
		entered++
		if inside != 1 {
			t.Errorf("%d hold the lock", inside)
		}
		guard.Unlock()
		guard.Lock()
		inside--
		guard.Unlock()
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	const many = 40
	for i := range many {
		all.Go(func() {
			acquire := queue.Acquire
			if i%4 == 0 {
				acquire = filelock.Acquire
			}
			lock, err := acquire(t.Context(), path, span)
			if err != nil {
				t.Error(err)
				return
			}
			hold(lock)
		})
	}
	all.Wait()
	if entered != many {
		t.Errorf("%d of %d have had it", entered, many)
	}
	first, err := queue.Acquire(t.Context(), path, span)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := queue.Acquire(short, path, span); !errors.Is(err, filelock.ErrHeld) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting in vain: %v", err)
	}
	// Another range is another line.
	other, err := queue.Acquire(t.Context(), path, filelock.Range{Start: 8, Length: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Release(), other.Release()); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	lock, err := queue.Acquire(ended, path, span)
	if err != nil {
		t.Fatalf("a free lock with no time left: %v", err)
	}
	if err := errors.Join(lock.Release()); err != nil {
		t.Error(err)
	}
	if lock.Release() == nil {
		t.Error("released twice")
	}
}
