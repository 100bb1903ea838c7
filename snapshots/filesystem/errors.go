package filesystem

import (
	"errors"

	"thinctl/fault"
	"thinctl/snapshots/filesystem/program"
)

// What went wrong, for errors.Is.
var (
	// ErrMissing: a program is not installed. Format, Grow.
	ErrMissing = program.ErrMissing
	// ErrSignature: the device holds something already. Format.
	ErrSignature = errors.New("not empty")
	// ErrNoFilesystem: the device holds neither ext4 nor xfs. Mount, Grow.
	ErrNoFilesystem = errors.New("no ext4 or xfs file system")
	// ErrDamaged: the file system's superblock cannot be right. Detect, Mount, Grow.
	ErrDamaged = errors.New("the file system is damaged")
	// ErrTooSmall: the device has less room than the file system needs. Format.
	ErrTooSmall = errors.New("too small")
	// ErrBusy: the device is mounted or claimed, or the target in use. Format,
	// Mount, Unmount.
	ErrBusy = errors.New("in use")
	// ErrMountPoint: something is mounted at the target already. Mount.
	ErrMountPoint = errors.New("already a mount point")
	// ErrNotMounted: nothing is mounted at the target, or another device is.
	// Unmount, Grow, Freeze, Thaw, Trim.
	ErrNotMounted = errors.New("not mounted")
	// ErrFrozen: the file system is frozen already. Freeze.
	ErrFrozen = errors.New("already frozen")
	// ErrNotFrozen: there is nothing to thaw. Thaw.
	ErrNotFrozen = errors.New("not frozen")
	// ErrUnsupported: the kernel lacks the file system, or the device or file
	// system lacks the operation. Mount, Freeze, Trim.
	ErrUnsupported = errors.New("not supported")
	// ErrPermission: a capability is missing. Mount, Grow.
	ErrPermission = errors.New("no permission")
	// ErrInvalid: an option or a path makes no sense. All.
	ErrInvalid = errors.New("invalid")
	// ErrIncomplete: some processes could not be looked into. Holders.
	ErrIncomplete = errors.New("incomplete")
)

// Error is every error of this package: what was tried, on what, why it
// failed and what to do next.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// in gives err its operation and object. Inside this package errors are made
// without them.
func in(op, object string, err error) error {
	if err == nil {
		return nil
	}
	if inner, ok := err.(*Error); ok { //nolint:errorlint // one further down keeps what was wrapped around it
		named := *inner
		named.Op, named.Object = op, object
		return &named
	}
	return &Error{Op: op, Object: object, Err: err}
}

func invalid(detail string) error { return &Error{Kind: ErrInvalid, Detail: detail} }
