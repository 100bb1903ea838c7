package loopback

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/internal/errno"
	"thinctl/units"
)

// reuse returns the device of a file that is attached already, or ErrAttached. It
// never attaches a second device: each has a cache of its own, and two devices on one
// file would destroy its content.
func (c *Control) reuse(existing []Device, o AttachOptions) (Device, error) {
	d := existing[0]
	switch {
	case len(existing) > 1:
		var paths []string
		for _, e := range existing {
			paths = append(paths, e.Path)
		}
		return Device{}, &Error{Kind: ErrAttached, Detail: "more than once: " + strings.Join(paths, ", ")}
	case !o.Reuse:
		return Device{}, &Error{Kind: ErrAttached, Detail: "as " + d.Path}
	}
	f, st, err := c.openChecked(d)
	if err != nil {
		return Device{}, err
	}
	sector, err := sectorSize(f)
	if err == nil {
		err = reusable(d, st, sector, o)
	}
	if err == nil {
		err = setAutoclear(f, st, o.Autoclear)
	}
	if err != nil {
		f.Close()
		return Device{}, err
	}
	if o.Autoclear {
		c.keepOpen(d.Path, f)
		return d, nil
	}
	return d, f.Close()
}

// reusable returns an error that lists the device's differences from the options.
func reusable(d Device, st *unix.LoopInfo64, sector units.Bytes, o AttachOptions) error {
	var differs []string
	if st.Offset != 0 {
		differs = append(differs, fmt.Sprintf("offset %d", st.Offset))
	}
	if st.Sizelimit != 0 {
		differs = append(differs, fmt.Sprintf("size limit %d", st.Sizelimit))
	}
	if readOnly := st.Flags&unix.LO_FLAGS_READ_ONLY != 0; readOnly != o.ReadOnly {
		differs = append(differs, map[bool]string{true: "read-only", false: "read-write"}[readOnly])
	}
	if o.SectorSize != 0 && sector != o.SectorSize {
		differs = append(differs, fmt.Sprintf("sectors of %d bytes", sector))
	}
	if len(differs) == 0 {
		return nil
	}
	return &Error{Kind: ErrAttached, Detail: fmt.Sprintf("as %s, with %s", d.Path, strings.Join(differs, ", "))}
}

// setAutoclear sets or clears the autoclear flag, the only flag that LOOP_SET_STATUS64
// can clear (linux/loop.h, LOOP_SET_STATUS_CLEARABLE_FLAGS).
func setAutoclear(f *os.File, st *unix.LoopInfo64, on bool) error {
	want := st.Flags &^ unix.LO_FLAGS_AUTOCLEAR
	if on {
		want |= unix.LO_FLAGS_AUTOCLEAR
	}
	if st.Flags == want {
		return nil
	}
	changed := *st
	changed.Flags = want
	if err := setStatus(f, &changed); err != nil {
		return fmt.Errorf("set autoclear of %s: %w", f.Name(), err)
	}
	return nil
}

// openChecked opens a device and checks that it has the backing file d.Backing. The
// file stays attached while the handle is open: LOOP_CLR_FD takes effect at the last
// close (drivers/block/loop.c, loop_clr_fd).
func (c *Control) openChecked(d Device) (*os.File, *unix.LoopInfo64, error) {
	if err := c.check(d); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, notAttachedIf(err, unix.ENXIO, unix.ENOENT)
	}
	st, err := checkBacking(f, d)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

func (c *Control) check(d Device) error {
	index, err := indexOf(d.Path)
	if err != nil {
		return err
	}
	err = c.checkNode(d.Path, index)
	return notAttachedIf(err, unix.ENOENT)
}

// checkBacking returns the status of the open device, or ErrForeign if its backing
// file is not d.Backing.
func checkBacking(f *os.File, d Device) (*unix.LoopInfo64, error) {
	st, err := status(f)
	switch {
	case errors.Is(err, unix.ENOTTY):
		return nil, &Error{Kind: ErrNotLoop, Err: err}
	case err != nil:
		return nil, notAttachedIf(err, unix.ENXIO)
	case identity(st) != d.Backing:
		return nil, &Error{Kind: ErrForeign, Detail: fmt.Sprintf("inode %d on device %#x, not inode %d on device %#x",
			st.Inode, st.Device, d.Backing.Inode, d.Backing.Device)}
	}
	return st, nil
}

// notAttachedIf returns ErrNotAttached if err has one of the error numbers, else err.
func notAttachedIf(err error, numbers ...unix.Errno) error {
	if errno.Is(err, numbers...) {
		return &Error{Kind: ErrNotAttached, Err: err}
	}
	return err
}
