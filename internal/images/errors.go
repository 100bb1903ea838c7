package images

import (
	"errors"

	"thinctl/fault"
)

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
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }
