package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// places returns the number of places in the queue that are taken.
func places(t *testing.T, path string, base int64) int64 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	end, err := queueEnd(file.Fd(), base)
	if err != nil {
		t.Fatal(err)
	}
	return end - base - 1
}

// await returns when want places are taken; the test's own deadline bounds it.
func await(t *testing.T, path string, base, want int64) {
	t.Helper()
	for places(t, path, base) != want {
		if t.Context().Err() != nil {
			t.Fatal("the test has ended")
		}
		<-time.After(time.Millisecond)
	}
}

// kinds returns the locks that have a queue, each with its queue's place.
func kinds() map[string]struct {
	base    int64
	acquire func(ctx context.Context, path string, shared bool) (release func() error, err error)
} {
	span := Range{Start: 7, Length: 1}
	base, _ := queueOf(span)
	return map[string]struct {
		base    int64
		acquire func(ctx context.Context, path string, shared bool) (release func() error, err error)
	}{
		"range": {base, func(ctx context.Context, path string, _ bool) (func() error, error) {
			lock, err := Acquire(ctx, path, span)
			if err != nil {
				return nil, err
			}
			return lock.Release, nil
		}},
		"whole file": {wholeQueue, func(ctx context.Context, path string, shared bool) (func() error, error) {
			file, err := os.Open(path) // read-only, as readers of the database open it
			if err != nil {
				return nil, err
			}
			if err := AcquireFile(ctx, file, shared); err != nil {
				return nil, errors.Join(err, file.Close())
			}
			return file.Close, nil
		}},
	}
}

// A waiter gets the lock after earlier callers and before later ones, also before the
// holder, which asks again as soon as it has released the lock.
func TestLocksAreTakenInTurn(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			release, err := kind.acquire(t.Context(), path, false)
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var order []int
			var all sync.WaitGroup
			join := func(who int, shared bool) {
				all.Go(func() {
					release, err := kind.acquire(t.Context(), path, shared)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					order = append(order, who)
					mu.Unlock()
					// Readers hold the lock at the same time, so each adds itself to the
					// order before it releases the lock.
					if err := release(); err != nil {
						t.Error(err)
					}
				})
			}
			const waiters = 8
			var want []int
			for who := range waiters {
				join(who, who%2 == 1) // readers and writers by turns
				await(t, path, kind.base, int64(who+1))
				want = append(want, who)
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
			again, err := kind.acquire(t.Context(), path, false)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			if !slices.Equal(order, want) {
				t.Errorf("got the lock in the order %v before the holder had it again, want %v", order, want)
			}
			mu.Unlock()
			if err := again(); err != nil {
				t.Fatal(err)
			}
			all.Wait()
			if n := places(t, path, kind.base); n != 0 {
				t.Errorf("%d places are left, want none", n)
			}
		})
	}
}

// A waiter whose context ends leaves the queue.
func TestPlacesAreGivenUp(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			release, err := kind.acquire(t.Context(), path, false)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			for who := range 3 {
				all.Go(func() {
					if _, err := kind.acquire(ctx, path, false); !errors.Is(err, ErrHeld) || !errors.Is(err, context.Canceled) {
						t.Errorf("got %v, want %v and %v", err, ErrHeld, context.Canceled)
					}
				})
				await(t, path, kind.base, int64(who+1))
			}
			cancel()
			all.Wait()
			if err := release(); err != nil {
				t.Fatal(err)
			}
			release, err = kind.acquire(t.Context(), path, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
			await(t, path, kind.base, 0)
		})
	}
}
