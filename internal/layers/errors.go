package layers

import (
	"errors"

	"thinctl/fault"
	"thinctl/snapshots"
)

// The errors that callers may test for with errors.Is, beside the kinds of package
// fault. The calls of this package return these kinds:
//
//   - fault.Invalid: an id, a name or an option cannot be right. All calls.
//   - fault.NotFound: no such layer or container. All calls that name one.
//   - fault.Exists: another container has the name. CreateContainer.
//   - fault.Busy: a layer is needed by another layer, a container, an image, or a load
//     in progress. RemoveLayers.
//   - fault.Full: the pool has no data blocks left. All calls that write.
//   - fault.Unsupported: the volume's file system cannot store what is written. Add.
var (
	// ErrAmbiguous reports that several ids begin with the given digits. Layer,
	// Container.
	ErrAmbiguous = fault.New(fault.Invalid, "ambiguous")
	// ErrMounted reports that a container is mounted, here or in another mount
	// namespace. Mount, Unmount, RemoveContainer.
	ErrMounted = fault.New(fault.Busy, "mounted")
	// ErrTooSmall reports that the file system of a volume has no space or no inodes
	// left. All calls that write.
	ErrTooSmall = fault.New(fault.Refused, "the volume is too small")
	// ErrNotMounted reports that a container is not mounted. UnmountContainer.
	ErrNotMounted = fault.New(fault.Refused, "not mounted")
)

// Error is the form of this package's errors.
type Error = snapshots.Error

// failed wraps an error of the layers below. It leaves an error of this package as it is.
func failed(op, object string, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &Error{Op: op, Object: object, Err: err}
}
