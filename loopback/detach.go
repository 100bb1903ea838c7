package loopback

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
)

// Detach implements Loops.
//
// It opens the device exclusively first. Mounts and device mapper tables do the
// same, so Detach fails before it changes a device that one of them uses. Without
// this, LOOP_CLR_FD succeeds on a device in use, and the kernel detaches it at its
// last close (drivers/block/loop.c, loop_clr_fd).
func (c *Control) Detach(ctx context.Context, d Device) error {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	return withOp("detach", d.Path, c.detach(ctx, d))
}

func (c *Control) detach(ctx context.Context, d Device) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Backing == (FileID{}) {
		return &Error{Kind: ErrForeign, Detail: "the Device has no Backing to compare with"}
	}
	if err := c.check(d); err != nil {
		return err
	}
	before, err := c.clear(ctx, d)
	if err != nil {
		return err
	}
	c.release(d.Path)
	return c.awaitDetached(ctx, d, before)
}

// clear calls LOOP_CLR_FD, and again while the device is busy. It returns the
// device's status from before the call.
func (c *Control) clear(ctx context.Context, d Device) (*unix.LoopInfo64, error) {
	var wait backoff
	for {
		before, err := clearOnce(d)
		if !errno.Is(err, unix.EBUSY) {
			return before, err
		}
		if werr := wait.wait(ctx); werr != nil {
			return nil, c.busyError(d, errors.Join(err, werr))
		}
	}
}

// clearOnce checks the backing file and calls LOOP_CLR_FD through one handle: the
// file behind a device cannot change while the device is open.
func clearOnce(d Device) (*unix.LoopInfo64, error) {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, notAttachedIf(err, unix.ENXIO, unix.ENOENT)
	}
	defer f.Close()
	before, err := checkBacking(f, d)
	if err != nil {
		return nil, err
	}
	return before, notAttachedIf(clearFd(f), unix.ENXIO)
}

// awaitDetached waits until the device is free or has another file. A process that
// has it open without exclusive access, such as blkid, delays that. When ctx ends,
// awaitDetached resets the autoclear flag that LOOP_CLR_FD has set, so that a failed
// Detach has changed nothing.
func (c *Control) awaitDetached(ctx context.Context, d Device, before *unix.LoopInfo64) error {
	var wait backoff
	for {
		detached, err := c.isDetached(d)
		if detached || err != nil {
			return err
		}
		if werr := wait.wait(ctx); werr != nil {
			return c.undoClear(d, before, werr)
		}
	}
}

func (c *Control) isDetached(d Device) (bool, error) {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) {
		// The kernel does not open a device that it is detaching or has removed
		// (drivers/block/loop.c, lo_open).
		return !c.exists(d), nil
	}
	if err != nil {
		return errors.Is(err, unix.ENOENT), ignore(err, unix.ENOENT)
	}
	defer f.Close()
	_, err = checkBacking(f, d)
	if errors.Is(err, ErrNotAttached) || errors.Is(err, ErrForeign) {
		return true, nil
	}
	return false, err
}

// undoClear resets the autoclear flag after a LOOP_CLR_FD that did not complete, and
// returns an error with its cause.
func (c *Control) undoClear(d Device, before *unix.LoopInfo64, cause error) error {
	f, now, err := c.openChecked(d)
	if errors.Is(err, ErrNotAttached) || errors.Is(err, ErrForeign) {
		detached, err := c.isDetached(d)
		if !detached && err == nil {
			err = c.busyError(d, cause)
		}
		return err
	}
	if err != nil {
		return c.busyError(d, errors.Join(cause, err))
	}
	defer f.Close()
	err = setAutoclear(f, now, before.Flags&unix.LO_FLAGS_AUTOCLEAR != 0)
	return c.busyError(d, errors.Join(cause, err))
}

func (c *Control) busyError(d Device, cause error) error {
	detail := "mounted, or open in another process"
	if index, err := indexOf(d.Path); err == nil {
		holders, err := os.ReadDir(filepath.Join(c.sysfs(index), "holders"))
		if err == nil && len(holders) > 0 {
			var names []string
			for _, h := range holders {
				names = append(names, h.Name())
			}
			detail = "held by " + strings.Join(names, ", ")
		}
	}
	return &Error{Kind: fault.Busy, Err: cause, Detail: detail}
}

func (c *Control) exists(d Device) bool {
	index, err := indexOf(d.Path)
	if err != nil {
		return false
	}
	_, err = os.Stat(c.sysfs(index))
	return err == nil
}

// ignore returns err, or nil if err has one of the error numbers.
func ignore(err error, numbers ...unix.Errno) error {
	if errno.Is(err, numbers...) {
		return nil
	}
	return err
}
