package manifest

import (
	"errors"
	"fmt"

	"thinctl/fault"
)

// The errors for images from outside.
var (
	ErrFormat    = errors.New("not in the expected format")
	ErrTruncated = errors.New("cut short")
	// ErrMissing is the error for a manifest, config or layer that is named but missing.
	ErrMissing  = errors.New("missing")
	ErrDigest   = errors.New("wrong digest")
	ErrSize     = errors.New("wrong size")
	ErrTooLarge = errors.New("too large")
	// ErrEscapes is the error for a file name that leads out of the archive.
	ErrEscapes = errors.New("leads out of the archive")
	// ErrForeign is the error for a layer that is distributed elsewhere.
	ErrForeign   = errors.New("foreign layer")
	ErrMediaType = errors.New("unknown media type")
	ErrPlatform  = fault.New(fault.NotFound, "no image for this platform")
)

// Error is an error about an image from outside.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// In returns err with operation, object and part, as far as it does not have them.
func In(op, object, part string, err error) error {
	if err == nil {
		return nil
	}
	inner, ok := err.(*Error) //nolint:errorlint // a wrapped Error must keep its wrappers
	if !ok {
		return &Error{Op: op, Object: object, Part: part, Err: err}
	}
	named := *inner
	if named.Op == "" {
		named.Op, named.Object = op, object
	}
	if named.Part == "" {
		named.Part = part
	}
	return &named
}

// Errorf returns an Error without operation and object.
func Errorf(kind error, detail string, arguments ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(detail, arguments...)}
}
