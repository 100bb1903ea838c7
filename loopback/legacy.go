package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	losetup "github.com/freddierice/go-losetup"
	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
)

// attachLegacy attaches a file with the calls of kernels before 5.8: LOOP_SET_FD,
// then one call per parameter. go-losetup tries one free device only, so processes
// would collide. A lock file serialises the processes that use this package. If
// another program takes the device, attachLegacy returns errTaken.
func (c *Control) attachLegacy(ctx context.Context, control *os.File, b *backing, o AttachOptions) (Device, error) {
	lock, err := os.OpenFile(c.lockFile, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return Device{}, fmt.Errorf("open lock file: %w", err)
	}
	defer lock.Close()
	if err := flock(ctx, lock); err != nil {
		return Device{}, err
	}
	// go-losetup neither reports that no device is free nor creates a node.
	index, err := free(control)
	if err != nil {
		return Device{}, err
	}
	if _, err := c.node("/dev", index); err != nil {
		return Device{}, err
	}
	made, err := losetup.Attach(procPath(b.File), 0, o.ReadOnly)
	switch {
	case errors.Is(err, unix.EBUSY):
		return Device{}, errTaken
	case err != nil:
		return Device{}, err
	}
	return c.finishLegacy(ctx, made, b, o)
}

func (c *Control) finishLegacy(ctx context.Context, made losetup.Device, b *backing, o AttachOptions) (Device, error) {
	undo := func(err error) error { return errors.Join(err, made.Detach()) }
	index, err := indexOf(made.Path())
	if err != nil {
		return Device{}, undo(err)
	}
	path, err := c.node(c.dev, index)
	if err != nil {
		return Device{}, undo(err)
	}
	mode := os.O_RDWR
	if o.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return Device{}, undo(err)
	}
	if err := setLegacy(ctx, f, b, o); err != nil {
		if !errors.Is(err, errTaken) {
			err = errors.Join(err, clearFd(f))
		}
		f.Close()
		return Device{}, err
	}
	return c.finish(f, index, b, o)
}

// setLegacy sets the device's file name, flags, sector size and direct IO, in that
// order: direct IO depends on the sector size.
func setLegacy(ctx context.Context, f *os.File, b *backing, o AttachOptions) error {
	st, err := status(f)
	switch {
	case errors.Is(err, unix.ENXIO) || (err == nil && identity(st) != b.id):
		return errTaken
	case err != nil:
		return err
	}
	named := *st
	clear(named.File_name[:])
	copy(named.File_name[:unix.LO_NAME_SIZE-1], filepath.Clean(b.Name()))
	if o.Autoclear {
		named.Flags |= unix.LO_FLAGS_AUTOCLEAR
	}
	if err := setStatus(f, &named); err != nil {
		return fmt.Errorf("set file name of %s: %w", f.Name(), err)
	}
	if err := setLegacySectors(ctx, f, b, o); err != nil {
		return err
	}
	if o.Buffered {
		return nil
	}
	// Kernels before 4.4 have no direct IO, and EINVAL means that this file cannot
	// have it. The device then stays buffered, and Device.DirectIO is false.
	err = setDirectIO(f)
	if err != nil && !errno.Is(err, unix.EINVAL, unix.ENOTTY) {
		return fmt.Errorf("switch %s to direct IO: %w", f.Name(), err)
	}
	return nil
}

// setLegacySectors calls LOOP_SET_BLOCK_SIZE (from 4.14 on), which returns EAGAIN
// while the device's cache is not empty.
func setLegacySectors(ctx context.Context, f *os.File, b *backing, o AttachOptions) error {
	size := b.sectorSize(o)
	if size == 0 {
		return nil
	}
	var wait backoff
	for {
		err := setSectorSize(f, size)
		switch {
		case err == nil:
			return nil
		case errno.Is(err, unix.EINVAL, unix.ENOTTY):
			if o.SectorSize == 0 {
				return nil
			}
			return &Error{Kind: fault.Unsupported, Err: err,
				Detail: fmt.Sprintf("sectors of %d bytes (LOOP_SET_BLOCK_SIZE needs Linux 4.14)", size)}
		case !errno.Is(err, unix.EAGAIN, unix.EBUSY):
			return fmt.Errorf("set sector size of %s: %w", f.Name(), err)
		}
		if err := wait.wait(ctx); err != nil {
			return err
		}
	}
}

// procPath returns a path that leads to the open file, even after a rename.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
