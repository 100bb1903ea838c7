package filelock

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Callers that find a lock held form a queue, so that a caller waits only for earlier
// callers. The kernel keeps no order: it wakes all waiters, and a holder that locks
// again at once is faster than they are.
//
// A place in the queue is a locked byte of the same file, far beyond all ranges. The
// kernel unlocks it when the process ends. A caller locks the byte behind the last
// place, and waits until all bytes before its own are unlocked. Its place is then the
// first, and the caller keeps it until it has the lock itself. A caller that finds the
// queue empty tries the lock without a place.

const (
	queues     = 1 << 62 // where the first queue begins
	queueWidth = 1 << 32
	maxQueued  = 1 << 29 // beyond it a range has no queue
	wholeQueue = queues + maxQueued*queueWidth
)

// queueOf returns where the queue for a range begins. Shared locks have none: a
// goroutine may take one twice, and with a queue the second call could wait for the
// first. The range of a whole file has none either, since it contains the queues.
func queueOf(span Range) (base int64, ok bool) {
	if span.Shared || span.Length <= 0 || span.Start < 0 || span.Start >= maxQueued {
		return 0, false
	}
	return queues + span.Start*queueWidth, true
}

// queued reports whether a queue has waiters.
func queued(fd uintptr, base int64) bool {
	end, err := queueEnd(fd, base)
	return err == nil && end > base+1
}

// queueEnd returns the first byte behind all places.
func queueEnd(fd uintptr, base int64) (int64, error) {
	for at := base + 1; ; {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: base + queueWidth - at}
		err := ignoreInterrupts(func() error { return unix.FcntlFlock(fd, unix.F_OFD_GETLK, &lock) })
		if err != nil || lock.Type == unix.F_UNLCK {
			return at, err
		}
		if lock.Len == 0 || lock.Start+lock.Len >= base+queueWidth {
			return at, fmt.Errorf("the queue for the lock is full")
		}
		at = lock.Start + lock.Len
	}
}

// queueUp takes a place in the queue at base, and returns when the place is the first.
func queueUp(ctx context.Context, path string, base int64) (*Lock, error) {
	place := &Lock{path: path}
	err := ignoreInterrupts(func() (err error) {
		place.fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	at, err := place.takePlace(ctx, base)
	if err != nil || at == base+1 {
		return place.orClosed(err)
	}
	if err := place.waitFor(ctx, Range{Start: base + 1, Length: at - base - 1}); err != nil {
		return nil, err // waitFor has closed it
	}
	return place, nil
}

// takePlace locks the byte behind the last place. The queue's first byte is locked in
// the meantime, so that two callers do not take the same place.
func (l *Lock) takePlace(ctx context.Context, base int64) (at int64, err error) {
	gate := Range{Start: base, Length: 1}
	if err := wait(ctx, func() error { return l.set(gate) }); err != nil {
		return 0, err
	}
	if at, err = queueEnd(uintptr(l.fd), base); err == nil {
		err = l.set(Range{Start: at, Length: 1})
	}
	open := unix.Flock_t{Type: unix.F_UNLCK, Start: gate.Start, Len: gate.Length}
	unlock := func() error { return unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &open) }
	return at, errors.Join(err, ignoreInterrupts(unlock))
}

// waitFor waits for a range in the kernel. If ctx ends first, l is closed as soon as
// the kernel's call returns.
func (l *Lock) waitFor(ctx context.Context, span Range) error {
	got := make(chan error, 1)
	go func() { got <- l.call(unix.F_OFD_SETLKW, span) }()
	select {
	case err := <-got:
		if err != nil {
			err = errors.Join(err, l.Release())
		}
		return err
	case <-ctx.Done():
		// The kernel's wait ends only with the lock, which is then released.
		go func() {
			<-got //nolint:errcheck // the lock is released in any case
			unix.Close(l.fd)
		}()
		return fmt.Errorf("lock %s: %w: %w", l.path, ErrHeld, ctx.Err())
	}
}
