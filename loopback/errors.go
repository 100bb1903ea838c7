package loopback

import (
	"errors"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
)

// Errors that a caller may branch on with errors.Is. The errors returned are
// *Error and match both one of these and the kernel's errno.
var (
	// ErrBusy: Detach found the device mounted, under a device-mapper table or
	// otherwise open until the bound, or a lock was held by another process
	// until the bound. Nothing was changed.
	ErrBusy = errors.New("in use")

	// ErrExhausted: Attach got no device: the kernel has none left, or others
	// took each one first until the bound.
	ErrExhausted = errors.New("loop devices exhausted")

	// ErrAttached: Attach found the file attached already: without Reuse, or
	// with other parameters, or more than once.
	ErrAttached = errors.New("already attached")

	// ErrNotAttached: Info, Refresh and Detach found no file behind the device.
	ErrNotAttached = errors.New("not attached")

	// ErrForeign: Info, Refresh and Detach found another file behind the device
	// than the one that the Device names.
	ErrForeign = errors.New("backed by another file")

	// ErrNotLoop: a path is not that loop device's node.
	ErrNotLoop = errors.New("not a loop device")

	// ErrNotRegular: a backing file is something else than a regular file.
	ErrNotRegular = errors.New("not a regular file")

	// ErrUnsupported: the kernel or the file system cannot do what was asked.
	ErrUnsupported = errors.New("not supported")

	// ErrResize: Refresh found the device at another size than its file.
	ErrResize = errors.New("size not taken over")

	// ErrNoSpace: CreateSparse, Grow and PunchHole met a full host file system,
	// a quota or the largest file size.
	ErrNoSpace = errors.New("no room on the host file system")

	// ErrShrink: Grow was asked for less than the file has.
	ErrShrink = errors.New("would shrink")

	// ErrInvalid: an option or a size makes no sense.
	ErrInvalid = errors.New("invalid")
)

// Error is every error of this package: what was tried, on what, and why it
// failed. Kind is one of the sentinels above or nil; Err is the cause, often a
// syscall.Errno or a context's error, or nil.
type Error fault.Error

func (e *Error) Error() string {
	told := fault.Error(*e)
	if told.Op != "" {
		told.Op = "loopback: " + told.Op
	}
	return told.Error()
}

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// inOp gives err the operation and the object it happened to. Further down,
// Errors are made without those two.
func inOp(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if inner, ok := err.(*Error); ok { //nolint:errorlint // a wrapped one keeps its own op and path
		named := *inner
		named.Op, named.Object = op, path
		return &named
	}
	return &Error{Op: op, Object: path, Kind: kindOf(err), Err: err}
}

// kindOf names the errnos that mean the same wherever they come from.
func kindOf(err error) error {
	switch {
	case errno.Is(err, unix.ENOSPC, unix.EDQUOT, unix.EFBIG):
		return ErrNoSpace
	case errno.Is(err, unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS):
		return ErrUnsupported
	}
	return nil
}
