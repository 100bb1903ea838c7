package loopback

import (
	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
)

// The errors that callers may test for with errors.Is, beside the kinds of package
// fault. An error of this package is an *Error that matches one of them and the
// kernel's errno.
var (
	// ErrExhausted reports that Attach got no device. The kernel has none left, or
	// other processes took each free device first.
	ErrExhausted = fault.New(fault.Unavailable, "loop devices exhausted")

	// ErrAttached reports that Attach found the file attached already: without Reuse,
	// with other parameters, or more than once.
	ErrAttached = fault.New(fault.Refused, "already attached")

	// ErrNotAttached reports that Info, Refresh or Detach found a device without a file.
	ErrNotAttached = fault.New(fault.Unavailable, "not attached")

	// ErrForeign reports that Info, Refresh or Detach found another backing file than
	// the one in the Device.
	ErrForeign = fault.New(fault.Refused, "backed by another file")

	// ErrNotLoop reports a path that is not the node of the loop device in its name.
	ErrNotLoop = fault.New(fault.Invalid, "not a loop device")

	// ErrNotRegular reports a backing file that is not a regular file.
	ErrNotRegular = fault.New(fault.Invalid, "not a regular file")

	// ErrNoSpace reports that CreateSparse, Grow or PunchHole reached a limit of the
	// host: a full file system, a quota, or the largest size of a file. Its kind is not
	// Full, which is for pools.
	ErrNoSpace = fault.New(fault.Refused, "no space on the host file system")
)

// Error is a failed operation of this package. Kind is an error from above, a
// fault.Kind, or nil. Err is the cause, often a syscall.Errno or a context's error, or
// nil.
type Error fault.Error

func (e *Error) Error() string {
	named := fault.Error(*e)
	if named.Op != "" {
		named.Op = "loopback: " + named.Op
	}
	return named.Error()
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// withOp adds an operation and its object to err. The functions that the operation
// calls return an Error without these two.
func withOp(op, path string, err error) error {
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

// kindOf returns the kind of an errno that has the same meaning for every call.
func kindOf(err error) error {
	switch {
	case errno.Is(err, unix.ENOSPC, unix.EDQUOT, unix.EFBIG):
		return ErrNoSpace
	case errno.Is(err, unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS):
		return fault.Unsupported
	}
	return nil
}
