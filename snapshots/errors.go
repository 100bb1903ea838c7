package snapshots

import "errors"

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
	// ErrNotMounted: there is nothing to unmount. UnmountContainer.
	ErrNotMounted = errors.New("not mounted")
)

// Error says what was tried, on which object, why it failed and what to do.
type Error struct {
	Op     string // "create", "commit", ...
	Object string // "layer 0123456789ab", "container web"
	Kind   error  // one of this package's sentinels, or nil
	Detail string // what was found
	Remedy string // what to do next
	Err    error  // what the layer below said, or nil
}

func (e *Error) Error() string {
	text := e.Op + " " + e.Object
	if e.Kind != nil {
		text += ": " + e.Kind.Error()
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}

// failed dresses what the layers below said.
func failed(op, object string, err error) error {
	var told *Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &Error{Op: op, Object: object, Err: err}
}
