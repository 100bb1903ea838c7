// Package filelock orders processes and goroutines by byte ranges of a lock
// file.
//
// The locks are open file description locks (fcntl F_OFD_SETLK): each
// acquisition opens the file anew, so two goroutines exclude each other as two
// processes do, and a killed process leaves nothing behind. Waiting hears its
// context.
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
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld: the lock was not free when the context ended, or at once for Try.
var ErrHeld = errors.New("held by another thinctl process or operation")

// Range is a span of the lock file; the zero value spans all of it.
type Range struct {
	Start, Length int64
	Shared        bool
}

// Lock is held until Release.
type Lock struct {
	// A bare descriptor: os.File would make it non-blocking and back again, four
	// calls more than the lock itself takes.
	fd   int
	path string
	pass func() // lets the next of a queue ask; nil for none
}

// Try takes the lock if it is free now, else fails with ErrHeld.
func Try(path string, span Range) (*Lock, error) {
	lock, err := open(path)
	if err != nil {
		return nil, err
	}
	return lock.orClosed(lock.set(span))
}

// Acquire waits for the lock until ctx ends. fcntl's own wait cannot be
// interrupted by a context, so this one asks again, at most every 5 ms.
func Acquire(ctx context.Context, path string, span Range) (*Lock, error) {
	lock, err := open(path)
	if err != nil {
		return nil, err
	}
	return lock.orClosed(wait(ctx, func() error { return lock.set(span) }))
}

func wait(ctx context.Context, try func() error) error {
	const longest = 5 * time.Millisecond
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, longest) {
		err := try()
		if err == nil || !errors.Is(err, ErrHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(pause):
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
		return nil, fmt.Errorf("opening the lock: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	return lock, nil
}

func (l *Lock) set(span Range) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: span.Start, Len: span.Length}
	if span.Shared {
		lock.Type = unix.F_RDLCK
	}
	err := unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("lock %s: %w", l.path, ErrHeld)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", l.path, err)
	}
	return nil
}

func (l *Lock) orClosed(err error) (*Lock, error) {
	if err != nil {
		return nil, errors.Join(err, l.Release())
	}
	return l, nil
}

// Release frees the lock. A second call is an error, and does nothing.
func (l *Lock) Release() error {
	fd := l.fd
	l.fd = -1 // by now the number may be another file's
	err := unix.Close(fd)
	if l.pass != nil {
		l.pass()
		l.pass = nil
	}
	if err != nil {
		return fmt.Errorf("releasing the lock %s: %w", l.path, err)
	}
	return nil
}
