package loopback

import (
	"context"
	"errors"
	"fmt"
	"os"

	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// errTaken: someone else attached to the device, or removed it, between our
// being told that it is free and our using it.
var errTaken = errors.New("taken by another process")

// errLegacy: this kernel has no LOOP_CONFIGURE.
var errLegacy = errors.New("no LOOP_CONFIGURE")

// Attach implements Loops.
func (c *Control) Attach(ctx context.Context, file string, o AttachOptions) (Device, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	d, err := c.attach(ctx, file, o)
	return d, inOp("attach", file, err)
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
	existing, err := c.behind(ctx, file, b.id)
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
		return Device{}, &Error{Kind: ErrBusy, Err: context.Cause(ctx), Detail: "waiting for other attachments of this process"}
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
			return Device{}, &Error{Kind: ErrExhausted, Err: werr,
				Detail: fmt.Sprintf("%d times another process took the device first; %s", wait.tries, exhaustedAdvice)}
		}
	}
	return Device{}, &Error{Kind: ErrExhausted, Err: unix.EBUSY,
		Detail: fmt.Sprintf("%d times another process took the device first; %s", c.attempts, exhaustedAdvice)}
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
	return c.attached(f, index, b, o)
}

// configureAs attaches in one call. A kernel that refuses direct IO mostly just
// leaves it off; where it says EINVAL instead, it is asked again without.
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
		return &Error{Kind: ErrUnsupported, Err: err, Detail: fmt.Sprintf("with sectors of %d bytes", o.SectorSize)}
	}
	return err
}

// attached finishes an attachment made through f, which it closes or keeps: it
// looks whose file is really behind the device, and undoes what it cannot finish.
func (c *Control) attached(f *os.File, index int, b *backing, o AttachOptions) (Device, error) {
	st, err := status(f)
	switch {
	case errors.Is(err, unix.ENXIO) || (err == nil && identity(st) != b.id):
		f.Close()
		return Device{}, errTaken
	case err != nil:
		return Device{}, errors.Join(fmt.Errorf("verifying %s: %w", f.Name(), err), clearFd(f), f.Close())
	}
	d := c.device(f.Name(), index, b.Name(), st)
	if o.Autoclear {
		c.hold(d.Path, f)
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
