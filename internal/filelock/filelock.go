// Package filelock locks byte ranges of a file against other processes and
// goroutines.
//
// The locks are open file description locks (fcntl F_OFD_SETLK). Each acquisition
// opens the file again, so that two goroutines exclude each other as two processes
// do. The kernel releases the locks of a killed process. A wait ends when its context
// ends.
//
//	lock, err := filelock.Acquire(ctx, path, filelock.Range{Start: 7, Length: 1})
//	if err != nil {
//		return err
//	}
//	defer lock.Release()
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"thinctl/fault"

	"golang.org/x/sys/unix"
)

// ErrHeld is the error of Try for a lock that is held, and of Acquire for a lock that
// is still held when the context ends.
var ErrHeld = fault.New(fault.Busy, "held by another thinctl process or operation")

// Range is a span of the lock file. The zero value spans all of it.
type Range struct {
	Start, Length int64
	Shared        bool
}

// Lock is held until Release.
type Lock struct {
	// os.File would make the descriptor non-blocking and back again: four calls more
	// than the lock itself needs.
	fd   int
	path string
}

// Try takes the lock if it is free, else it fails with ErrHeld.
func Try(path string, span Range) (*Lock, error) {
	lock, err := open(path)
	if err != nil {
		return nil, err
	}
	return lock.orClosed(lock.set(span))
}

// Acquire waits for the lock until ctx ends. Waiters for a range that is not shared
// get it in the order of their calls. After a short time Acquire waits in the kernel:
// many waiters that poll take processor time from the holder. The error of an
// unsuccessful wait names the processes that hold the lock, if /proc shows them.
func Acquire(ctx context.Context, path string, span Range) (*Lock, error) {
	lock, err := open(path)
	if err != nil {
		return nil, err
	}
	place, err := lock.inTurn(ctx, span)
	if place == nil {
		return lock.orClosed(named(err, path, rangeLock, span))
	}
	defer place.Release()
	soon, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
	defer cancel()
	err = wait(soon, func() error { return lock.set(span) })
	if err == nil || !errors.Is(err, ErrHeld) || ctx.Err() != nil {
		return lock.orClosed(named(err, path, rangeLock, span))
	}
	if err := lock.waitFor(ctx, span); err != nil {
		return nil, named(err, path, rangeLock, span)
	}
	return lock, nil
}

// inTurn takes the lock if the queue is empty. Otherwise it returns a place at the
// head of the queue, or an empty place if the range has no queue.
func (l *Lock) inTurn(ctx context.Context, span Range) (place *Lock, err error) {
	base, ok := queueOf(span)
	if !ok {
		return &Lock{fd: -1}, nil
	}
	if !queued(uintptr(l.fd), base) {
		if err := l.set(span); !errors.Is(err, ErrHeld) {
			return nil, err
		}
	}
	return queueUp(ctx, l.path, base)
}

// named adds the processes that hold the lock to an ErrHeld.
func named(err error, path, kind string, span Range) error {
	if errors.Is(err, ErrHeld) {
		return fmt.Errorf("%w%s", err, holders(path, kind, span))
	}
	return err
}

// wait calls try until it succeeds or ctx ends, with growing pauses.
func wait(ctx context.Context, try func() error) error {
	const longest = 20 * time.Millisecond
	for pause := 100 * time.Microsecond; ; pause = min(pause+pause/2, longest) {
		err := try()
		if err == nil || !errors.Is(err, ErrHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

func open(path string) (*Lock, error) {
	const flags = unix.O_CREAT | unix.O_RDWR | unix.O_CLOEXEC | unix.O_NOFOLLOW
	lock := &Lock{path: path}
	err := ignoreInterrupts(func() (err error) {
		lock.fd, err = unix.Open(path, flags, 0o600)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lock: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	return lock, nil
}

func (l *Lock) set(span Range) error { return l.call(unix.F_OFD_SETLK, span) }

func (l *Lock) call(command int, span Range) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: span.Start, Len: span.Length}
	if span.Shared {
		lock.Type = unix.F_RDLCK
	}
	err := ignoreInterrupts(func() error { return unix.FcntlFlock(uintptr(l.fd), command, &lock) })
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("lock %s: %w", l.path, ErrHeld)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", l.path, err)
	}
	return nil
}

func (l *Lock) orClosed(err error) (*Lock, error) {
	if err != nil {
		return nil, errors.Join(err, l.Release())
	}
	return l, nil
}

// Release releases the lock. A second call fails and has no effect.
func (l *Lock) Release() error {
	fd := l.fd
	l.fd = -1 // the number may belong to another file after the close
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("unlock %s: %w", l.path, err)
	}
	return nil
}
