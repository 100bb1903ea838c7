package loopback

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// Detach implements Loops.
//
// It opens the device exclusively first: mounts and device-mapper tables do the
// same, so a device below one is refused before anything is changed. Without
// that, LOOP_CLR_FD of a device in use answers 0 and makes it vanish at its last
// close (drivers/block/loop.c, loop_clr_fd).
func (c *Control) Detach(ctx context.Context, d Device) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	return inOp("detach", d.Path, c.detach(ctx, d))
}

func (c *Control) detach(ctx context.Context, d Device) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Backing == (FileID{}) {
		return &Error{Kind: ErrForeign, Detail: "the device does not say which file it expects"}
	}
	if err := c.check(d); err != nil {
		return err
	}
	before, err := c.clear(ctx, d)
	if err != nil {
		return err
	}
	c.letGo(d.Path)
	return c.awaitGone(ctx, d, before)
}

// clear asks the kernel to take the file away and returns what the device was.
func (c *Control) clear(ctx context.Context, d Device) (*unix.LoopInfo64, error) {
	var wait backoff
	for {
		before, err := clearOnce(d)
		if !errno.Is(err, unix.EBUSY) {
			return before, err
		}
		if werr := wait.wait(ctx); werr != nil {
			return nil, c.busy(d, errors.Join(err, werr))
		}
	}
}

// clearOnce looks and clears through one handle: what is behind the device
// cannot change while it is open.
func clearOnce(d Device) (*unix.LoopInfo64, error) {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, notAttachedIf(err, unix.ENXIO, unix.ENOENT)
	}
	defer f.Close()
	before, err := oursBehind(f, d)
	if err != nil {
		return nil, err
	}
	return before, notAttachedIf(clearFd(f), unix.ENXIO)
}

// awaitGone waits until the device is free or another's. Whoever has it open
// without a claim (blkid, a reader) delays that. At the bound the autoclear flag
// that LOOP_CLR_FD left behind is taken back, so that a Detach that failed has
// changed nothing.
func (c *Control) awaitGone(ctx context.Context, d Device, before *unix.LoopInfo64) error {
	var wait backoff
	for {
		gone, err := c.gone(d)
		if gone || err != nil {
			return err
		}
		if werr := wait.wait(ctx); werr != nil {
			return c.keep(d, before, werr)
		}
	}
}

func (c *Control) gone(d Device) (bool, error) {
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENXIO) {
		// The kernel refuses to open a device that is still being cleared, and
		// one that was removed altogether (drivers/block/loop.c, lo_open).
		return !c.exists(d), nil
	}
	if err != nil {
		return errors.Is(err, unix.ENOENT), ignore(err, unix.ENOENT)
	}
	defer f.Close()
	_, err = oursBehind(f, d)
	if errors.Is(err, ErrNotAttached) || errors.Is(err, ErrForeign) {
		return true, nil
	}
	return false, err
}

// keep undoes what LOOP_CLR_FD began and reports why it could not end.
func (c *Control) keep(d Device, before *unix.LoopInfo64, cause error) error {
	f, now, err := c.openOurs(d)
	if errors.Is(err, ErrNotAttached) || errors.Is(err, ErrForeign) {
		gone, err := c.gone(d)
		if !gone && err == nil {
			err = c.busy(d, cause)
		}
		return err
	}
	if err != nil {
		return c.busy(d, errors.Join(cause, err))
	}
	defer f.Close()
	err = setAutoclear(f, now, before.Flags&unix.LO_FLAGS_AUTOCLEAR != 0)
	return c.busy(d, errors.Join(cause, err))
}

func (c *Control) busy(d Device, cause error) error {
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
	return &Error{Kind: ErrBusy, Err: cause, Detail: detail}
}

func (c *Control) exists(d Device) bool {
	index, err := indexOf(d.Path)
	if err != nil {
		return false
	}
	_, err = os.Stat(c.sysfs(index))
	return err == nil
}

func ignore(err error, any ...unix.Errno) error {
	if errno.Is(err, any...) {
		return nil
	}
	return err
}
