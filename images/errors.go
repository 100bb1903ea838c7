package images

import "errors"

// What went wrong, for errors.Is. Names and ids that are not found or ambiguous
// are package reference's errors; what is wrong with an archive or a registry is
// package manifest's.
var (
	// ErrInvalid: a change, a name or an option makes no sense. Commit, Import, Tag.
	ErrInvalid = errors.New("invalid")
	// ErrInUse: a container was made of the image, or it has several names. Remove.
	ErrInUse = errors.New("in use")
	// ErrDigest: a layer's contents are not those that its digest promises. Load,
	// Save, Push.
	ErrDigest = errors.New("wrong digest")
)

// Error says what was tried, on which object, why it failed and what to do.
type Error struct {
	Op     string // "load", "remove", ...
	Object string // "image debian:12"
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
