package changes

import (
	"errors"

	"golang.org/x/sys/unix"

	"thinctl/fault"
)

// Error is the form of all errors of this package, except those of the context and
// of the visitor: the operation, its object, the cause and what to do. Its kind is
// fault.Unsupported if the kernel or the system lacks a function that a walk needs.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

func failed(op, object string, err error) error {
	e := &Error{Op: op, Object: object, Err: err}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Detail = "the comparison of whole trees needs root (CAP_DAC_READ_SEARCH)"
	case errors.Is(err, unix.EMFILE):
		e.Detail = "too many open files; raise the limit (ulimit -n)"
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EUCLEAN):
		e.Detail = "the device or its file system is damaged; see the kernel's log"
	}
	return e
}

// vanished reports whether err is the error for a path that no longer exists, or that
// no longer is a directory.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}
