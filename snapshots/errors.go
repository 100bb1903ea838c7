package snapshots

import (
	"errors"

	"thinctl/fault"
)

// What went wrong, for errors.Is.
var (
	// ErrInvalid: an id, a name or an option cannot be right. All calls.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such layer or container. All calls that name one.
	ErrNotFound = errors.New("not found")
	// ErrExists: the container's name is taken. CreateContainer.
	ErrExists = errors.New("exists already")
	// ErrAmbiguous: a short id is the beginning of several. Layer, Container.
	ErrAmbiguous = errors.New("ambiguous")
	// ErrInUse: a layer is needed by another layer, a container, an image, or a
	// load that is under way. RemoveLayers.
	ErrInUse = errors.New("in use")
	// ErrMounted: a container is mounted, here or where it should not be. Mount,
	// Unmount and RemoveContainer.
	ErrMounted = errors.New("mounted")
	// ErrFull: the pool has run out of data blocks. All that write.
	ErrFull = errors.New("the pool is full")
	// ErrTooSmall: a volume's file system has run out of space or inodes. All that
	// write.
	ErrTooSmall = errors.New("the volume is too small")
	// ErrUnsupported: a volume's file system cannot keep what is written. Add.
	ErrUnsupported = errors.New("not supported by the file system")
	// ErrNotMounted: there is nothing to unmount. UnmountContainer.
	ErrNotMounted = errors.New("not mounted")
)

// Error says what was tried, on which object, why it failed and what to do.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// failed dresses what the layers below said.
func failed(op, object string, err error) error {
	var told *Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &Error{Op: op, Object: object, Err: err}
}
