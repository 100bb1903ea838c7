package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AcquireFile waits for the lock of an open file as a whole until ctx ends.
// This is flock(2), the lock that bbolt and many other programs take on their
// own files; the ranges of this package neither see nor hinder it. Those who wait
// get it in the order in which they came, whether they share it or not, except where
// the file cannot be opened for writing. The error of a wait in vain names the
// processes that have it, where that can be seen.
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
			return fmt.Errorf("locking %s: %w", file.Name(), err)
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

// ReleaseFile frees the lock that AcquireFile took. So does closing the file.
func ReleaseFile(file *os.File) error {
	if err := ignoreInterrupts(func() error { return unix.Flock(int(file.Fd()), unix.LOCK_UN) }); err != nil {
		return fmt.Errorf("releasing the lock %s: %w", file.Name(), err)
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
