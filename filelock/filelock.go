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
	"os"
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
type Lock struct{ file *os.File }

// Try takes the lock if it is free now, else fails with ErrHeld.
func Try(path string, span Range) (*Lock, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	if err := set(file, span); err != nil {
		file.Close()
		return nil, err
	}
	return &Lock{file: file}, nil
}

// Acquire waits for the lock until ctx ends. fcntl's own wait cannot be
// interrupted by a context, so this one asks again, at most every 5 ms.
func Acquire(ctx context.Context, path string, span Range) (*Lock, error) {
	file, err := open(path)
	if err != nil {
		return nil, err
	}
	const longest = 5 * time.Millisecond
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, longest) {
		err := set(file, span)
		if err == nil {
			return &Lock{file: file}, nil
		}
		if !errors.Is(err, ErrHeld) {
			file.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(pause):
		}
	}
}

func open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	return file, nil
}

func set(file *os.File, span Range) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: span.Start, Len: span.Length}
	if span.Shared {
		lock.Type = unix.F_RDLCK
	}
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("lock %s: %w", file.Name(), ErrHeld)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return nil
}

// Release frees the lock.
func (l *Lock) Release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("releasing the lock %s: %w", l.file.Name(), err)
	}
	return nil
}
