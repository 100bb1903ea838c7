package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AcquireFile waits for the lock of an open file as a whole until ctx ends. This is
// flock(2), the lock that bbolt and many other programs take on their own files. It is
// independent of this package's ranges. Waiters get it in the order of their calls,
// shared or not, unless the file cannot be opened for writing. The error of an
// unsuccessful wait names the processes that hold the lock, if /proc shows them.
func AcquireFile(ctx context.Context, file *os.File, shared bool) error {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	try := func() error {
		err := ignoreInterrupts(func() error { return unix.Flock(int(file.Fd()), how|unix.LOCK_NB) })
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", file.Name(), ErrHeld)
		case err != nil:
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		return nil
	}
	if !queued(file.Fd(), wholeQueue) {
		if err := try(); !errors.Is(err, ErrHeld) {
			return err
		}
	}
	place, err := queueUp(ctx, file.Name(), wholeQueue)
	if err == nil {
		defer place.Release()
	}
	if err == nil || !errors.Is(err, ErrHeld) {
		err = wait(ctx, try)
	}
	return named(err, file.Name(), wholeLock, Range{})
}

// ReleaseFile releases the lock that AcquireFile took. Closing the file does so, too.
func ReleaseFile(file *os.File) error {
	if err := ignoreInterrupts(func() error { return unix.Flock(int(file.Fd()), unix.LOCK_UN) }); err != nil {
		return fmt.Errorf("unlock %s: %w", file.Name(), err)
	}
	return nil
}

func ignoreInterrupts(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
