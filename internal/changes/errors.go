package changes

import (
	"errors"

	"golang.org/x/sys/unix"

	"thinctl/fault"
)

// ErrUnsupported: the kernel or the system lacks what a walk needs.
var ErrUnsupported = errors.New("not supported")

// Error is every error of this package but a context's and the visitor's:
// what was tried, on what, why it failed and what to do next.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

func failed(op, object string, err error) error {
	e := &Error{Op: op, Object: object, Err: err}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Detail = "comparing whole trees needs root (CAP_DAC_READ_SEARCH)"
	case errors.Is(err, unix.EMFILE):
		e.Detail = "too many open files; raise the limit (ulimit -n)"
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EUCLEAN):
		e.Detail = "the device or its file system is damaged; see the kernel's log"
	}
	return e
}

// vanished tells whether err is what a path gives that is no longer there, or
// no longer a folder.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}
