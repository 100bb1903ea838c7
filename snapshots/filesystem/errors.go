package filesystem

import "thinctl/fault"

// Causes that callers distinguish from others of their kind. Other errors have a
// kind of package fault: Invalid for options and paths, Busy for a device or a
// target in use, Damaged for a superblock that cannot be right, Denied for a
// missing capability, Unavailable for a program that is not installed,
// Unsupported for what the kernel, the device or the file system lacks.
var (
	// ErrSignature is returned by Format if the device holds something already.
	ErrSignature = fault.New(fault.Exists, "not empty")
	// ErrNoFilesystem is returned if the device holds neither ext4 nor xfs.
	ErrNoFilesystem = fault.New(fault.Refused, "no ext4 or xfs file system")
	// ErrMountPoint is returned by Mount if something is mounted at the target.
	ErrMountPoint = fault.New(fault.Busy, "already a mount point")
	// ErrNotMounted is returned if nothing, or another device, is mounted at the
	// target.
	ErrNotMounted = fault.New(fault.Unavailable, "not mounted")
	// ErrIncomplete is returned by Holders, with the holders found, if some processes
	// could not be examined.
	ErrIncomplete = fault.New(fault.Denied, "incomplete")
)

// Error is the form of all errors of this package: the operation, its object,
// the kind, the cause and a remedy.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// in adds the operation and the object to an error. Inside this package errors are
// made without them.
func in(op, object string, err error) error {
	if err == nil {
		return nil
	}
	if inner, ok := err.(*Error); ok { //nolint:errorlint // an error further down keeps what is wrapped around it
		named := *inner
		named.Op, named.Object = op, object
		return &named
	}
	return &Error{Op: op, Object: object, Err: err}
}

func invalid(detail string) error { return &Error{Kind: fault.Invalid, Detail: detail} }
