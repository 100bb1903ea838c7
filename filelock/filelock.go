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
	"math/rand/v2"
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
}

// Try takes the lock if it is free now, else fails with ErrHeld.
func Try(path string, span Range) (*Lock, error) {
	lock, err := open(path)
	if err != nil {
		return nil, err
	}
	return lock.orClosed(lock.set(span))
}

// Acquire waits for the lock until ctx ends. A lock that is not soon free is
// waited for in the kernel, which wakes one waiter after the other: many that
// keep asking take the processors from whoever holds it. The error of a wait in
// vain names the processes that have it, where that can be seen.
func Acquire(ctx context.Context, path string, span Range) (*Lock, error) {
	lock, err := open(path)
	if err != nil {
		return nil, err
	}
	soon, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
	defer cancel()
	err = wait(soon, func() error { return lock.set(span) })
	if err == nil || !errors.Is(err, ErrHeld) || ctx.Err() != nil {
		return lock.orClosed(err)
	}
	got := make(chan error, 1)
	go func() { got <- lock.call(unix.F_OFD_SETLKW, span) }()
	select {
	case err := <-got:
		return lock.orClosed(err)
	case <-ctx.Done():
		// Nothing ends the kernel's wait but the lock: it is taken, then, and let go.
		go func() {
			<-got
			unix.Close(lock.fd)
		}()
		return nil, fmt.Errorf("lock %s: %w%s: %w", path, ErrHeld, holders(path, rangeLock, span), ctx.Err())
	}
}

// wait asks again and again, with pauses that grow with the time that it waits.
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
		return nil, fmt.Errorf("opening the lock: %w", &fs.PathError{Op: "open", Path: path, Err: err})
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
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("releasing the lock %s: %w", l.path, err)
	}
	return nil
}
