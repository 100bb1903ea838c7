package ext4

import (
	"fmt"

	"thinctl/fault"
)

// Error is the form of all errors of this package, except those of the context. The
// kind is fault.Unsupported if the file systems cannot be compared by their blocks, and
// fault.Invalid if the ranges are not in order. An error of a device has no kind.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// unsupported returns the error for a file system that has something unknown or
// inconsistent.
func (fs *fileSystem) unsupported(format string, args ...any) error {
	return &Error{Op: "read", Object: fs.name, Kind: fault.Unsupported, Detail: fmt.Sprintf(format, args...)}
}
