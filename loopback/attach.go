package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
)

// errTaken reports that another process has attached a file to the free device, or
// has removed the device, before this process could use it.
var errTaken = errors.New("taken by another process")

// errLegacy reports that this kernel has no LOOP_CONFIGURE.
var errLegacy = errors.New("no LOOP_CONFIGURE")

// Attach implements Loops.
func (c *Control) Attach(ctx context.Context, file string, o AttachOptions) (Device, error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	d, err := c.attach(ctx, file, o)
	return d, withOp("attach", file, err)
}

func (c *Control) attach(ctx context.Context, file string, o AttachOptions) (Device, error) {
	if err := ctx.Err(); err != nil {
		return Device{}, err
	}
	if err := o.Validate(); err != nil {
		return Device{}, err
	}
	b, err := openBacking(file, o.ReadOnly)
	if err != nil {
		return Device{}, err
	}
	defer b.Close()
	unlock, err := b.lock(ctx)
	if err != nil {
		return Device{}, err
	}
	defer unlock()
	existing, err := c.backedBy(ctx, file, b.id)
	if err != nil {
		return Device{}, err
	}
	if len(existing) > 0 {
		return c.reuse(existing, o)
	}
	return c.attachNew(ctx, b, o)
}

func (c *Control) attachNew(ctx context.Context, b *backing, o AttachOptions) (Device, error) {
	select {
	case c.attaching <- struct{}{}:
		defer func() { <-c.attaching }()
	case <-ctx.Done():
		return Device{}, &Error{Kind: fault.Busy, Err: context.Cause(ctx), Detail: "this process is attaching other files"}
	}
	control, err := c.openControl()
	if err != nil {
		return Device{}, err
	}
	defer control.Close()
	var wait backoff
	for range c.attempts {
		d, err := c.attachOnce(ctx, control, b, o)
		if !errors.Is(err, errTaken) {
			return d, err
		}
		if werr := wait.wait(ctx); werr != nil {
			return Device{}, &Error{Kind: ErrExhausted, Err: werr, Detail: takenDetail(wait.tries)}
		}
	}
	return Device{}, &Error{Kind: ErrExhausted, Err: unix.EBUSY, Detail: takenDetail(c.attempts)}
}

func takenDetail(attempts int) string {
	return fmt.Sprintf("other processes took the free device first in %d attempts; %s", attempts, maxLoopDetail)
}

func (c *Control) attachOnce(ctx context.Context, control *os.File, b *backing, o AttachOptions) (Device, error) {
	if !c.legacy.Load() {
		d, err := c.attachConfigure(control, b, o)
		if !errors.Is(err, errLegacy) {
			return d, err
		}
		c.legacy.Store(true)
	}
	return c.attachLegacy(ctx, control, b, o)
}

func (c *Control) attachConfigure(control *os.File, b *backing, o AttachOptions) (Device, error) {
	index, err := free(control)
	if err != nil {
		return Device{}, err
	}
	path, err := c.node(c.dev, index)
	if err != nil {
		return Device{}, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errno.Is(err, unix.ENXIO, unix.ENOENT, unix.ENODEV, unix.EBUSY):
		return Device{}, fmt.Errorf("%w: %w", errTaken, err)
	case err != nil:
		return Device{}, err
	}
	if err := configureAs(f, b, o); err != nil {
		f.Close()
		return Device{}, err
	}
	return c.finish(f, index, b, o)
}

// configureAs attaches the file in one call. If a file cannot have direct IO, most
// kernels leave it off without an error. Others return EINVAL: configureAs then
// repeats the call without direct IO.
func configureAs(f *os.File, b *backing, o AttachOptions) error {
	config := unix.LoopConfig{Fd: uint32(b.Fd()), Size: uint32(b.sectorSize(o))}
	copy(config.Info.File_name[:unix.LO_NAME_SIZE-1], b.Name())
	if o.ReadOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	if o.Autoclear {
		config.Info.Flags |= unix.LO_FLAGS_AUTOCLEAR
	}
	if !o.Buffered {
		config.Info.Flags |= unix.LO_FLAGS_DIRECT_IO
	}
	err := configure(f, &config)
	if errno.Is(err, unix.EINVAL, unix.ENOTTY) && !canConfigure(f) {
		return errLegacy
	}
	if errors.Is(err, unix.EINVAL) && !o.Buffered {
		config.Info.Flags &^= unix.LO_FLAGS_DIRECT_IO
		config.Size = uint32(o.SectorSize)
		err = configure(f, &config)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return errTaken
	case errors.Is(err, unix.EINVAL) && o.SectorSize != 0:
		return &Error{Kind: fault.Unsupported, Err: err, Detail: fmt.Sprintf("sectors of %d bytes", o.SectorSize)}
	}
	return err
}

// finish completes an attachment that was made through f. It checks which file the
// device really has, and detaches the file if it cannot complete. It closes f, or
// keeps it open for an autoclear device.
func (c *Control) finish(f *os.File, index int, b *backing, o AttachOptions) (Device, error) {
	st, err := status(f)
	switch {
	case errors.Is(err, unix.ENXIO) || (err == nil && identity(st) != b.id):
		f.Close()
		return Device{}, errTaken
	case err != nil:
		return Device{}, errors.Join(fmt.Errorf("status of %s: %w", f.Name(), err), clearFd(f), f.Close())
	}
	d := c.device(f.Name(), index, b.Name(), st)
	if o.Autoclear {
		c.keepOpen(d.Path, f)
		return d, nil
	}
	if err := f.Close(); err != nil {
		return Device{}, err
	}
	return d, nil
}

func (c *Control) device(path string, index int, file string, st *unix.LoopInfo64) Device {
	return Device{
		Path: path, Number: c.number(index), File: file, Backing: identity(st),
		DirectIO: st.Flags&unix.LO_FLAGS_DIRECT_IO != 0,
		ReadOnly: st.Flags&unix.LO_FLAGS_READ_ONLY != 0,
	}
}
