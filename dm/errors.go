package dm

import (
	"errors"

	"golang.org/x/sys/unix"

	"thinctl/fault"
)

// The errors that callers may test for with errors.Is, beside the kinds of package
// fault. The methods of [Kernel] return these kinds:
//
//   - fault.NotFound: no device has that name, uuid or number
//   - fault.Exists: another device has the name or the uuid, or the pool has the thin id
//   - fault.Busy: the device is open, or the pool has a metadata snapshot already
//   - fault.Unhealthy: the pool is in a mode, read-only or failed, that forbids the message
//   - fault.Full: the pool has no metadata space or data space left
//   - fault.Denied: the caller may not use the device mapper
//   - fault.Unsupported: the kernel has another version of the protocol
var (
	// ErrNoDeviceMapper reports that the kernel has no device mapper, or that its
	// control node cannot be created.
	ErrNoDeviceMapper = fault.New(fault.Unsupported, "no device mapper in this kernel: load it with `modprobe dm_mod`")
	// ErrNoTarget reports that the kernel lacks a target, in TargetVersion and Load.
	ErrNoTarget = fault.New(fault.Unsupported, "no such target in this kernel")
	// ErrNoThinDevice reports that the pool has no thin device with that id, in Message
	// and Load.
	ErrNoThinDevice = fault.New(fault.NotFound, "the pool has no thin device of that id")
)

// Error is a failed device mapper command. Kind is an error from above, a fault.Kind,
// or nil. Err is the kernel's errno, or nil.
type Error fault.Error

func (e *Error) Error() string {
	named := fault.Error(*e)
	named.Op = "device mapper: " + named.Op
	return named.Error()
}

// Unwrap returns the kind and the errno.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}

// setKind sets the meaning of an errno for the command (drivers/md/dm-ioctl.c,
// dm-thin.c).
func (e *Error) setKind(cmd uint, errno unix.Errno) {
	switch errno {
	case unix.EACCES, unix.EPERM:
		e.Kind, e.Detail = fault.Denied, needsRoot
	case unix.ENXIO:
		e.Kind = fault.NotFound
	case unix.EEXIST:
		e.Kind = fault.Exists
	case unix.EBUSY:
		e.Kind = fault.Busy
		if cmd == unix.DM_DEV_CREATE || cmd == unix.DM_DEV_RENAME {
			e.Kind = fault.Exists
		}
	case unix.ENODATA:
		e.Kind = ErrNoThinDevice
	case unix.EOPNOTSUPP:
		e.Kind, e.Detail = fault.Unhealthy, "the pool is read-only or has failed"
	case unix.ENOSPC:
		e.Kind, e.Detail = fault.Full, "the pool has no space left"
	}
}

const needsRoot = "the device mapper needs root (CAP_SYS_ADMIN)"
