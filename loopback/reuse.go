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

// reuse answers an Attach of a file that is attached already. Two devices on one
// file have a cache each and would destroy it, so there is never a second.
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
	f, st, err := c.openOurs(d)
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
		c.hold(d.Path, f)
		return d, nil
	}
	return d, f.Close()
}

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

// setAutoclear is the one flag that LOOP_SET_STATUS64 can set and clear again
// (linux/loop.h, LOOP_SET_STATUS_CLEARABLE_FLAGS).
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
		return fmt.Errorf("setting autoclear of %s: %w", f.Name(), err)
	}
	return nil
}

// openOurs opens a device and makes sure that the file is behind it that the
// Device names. While the handle is open it stays there: LOOP_CLR_FD waits for
// the last close (drivers/block/loop.c, loop_clr_fd).
func (c *Control) openOurs(d Device) (*os.File, *unix.LoopInfo64, error) {
	if err := c.check(d); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(d.Path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, notAttachedIf(err, unix.ENXIO, unix.ENOENT)
	}
	st, err := oursBehind(f, d)
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

func oursBehind(f *os.File, d Device) (*unix.LoopInfo64, error) {
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

func notAttachedIf(err error, any ...unix.Errno) error {
	if errno.Is(err, any...) {
		return &Error{Kind: ErrNotAttached, Err: err}
	}
	return err
}
