package manifest

import (
	"errors"
	"fmt"

	"thinctl/fault"
)

// What went wrong, for errors.Is.
var (
	// ErrFormat: this is not written as the format demands.
	ErrFormat = errors.New("not in the expected format")
	// ErrTruncated: it ends too early.
	ErrTruncated = errors.New("cut short")
	// ErrMissing: something is named and not there.
	ErrMissing = errors.New("missing")
	// ErrDigest: the contents are not those that were promised.
	ErrDigest = errors.New("wrong digest")
	// ErrSize: there is more or less of it than was promised.
	ErrSize = errors.New("wrong size")
	// ErrTooLarge: beyond what is sane for its kind.
	ErrTooLarge = errors.New("too large")
	// ErrEscapes: a name leads out of the archive.
	ErrEscapes = errors.New("leads out of the archive")
	// ErrForeign: a layer whose contents are distributed elsewhere.
	ErrForeign = errors.New("foreign layer")
	// ErrMediaType: of a kind that is not known here.
	ErrMediaType = errors.New("unknown media type")
	// ErrPlatform: not there for the platform that was asked for.
	ErrPlatform = errors.New("no image for this platform")
	// ErrInvalid: an option makes no sense.
	ErrInvalid = errors.New("invalid")
)

// Error is every error about images from outside: what was tried with what,
// which part of it failed and why, and what to do about it.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// In gives err the operation, object and part it lacks.
func In(op, object, part string, err error) error {
	if err == nil {
		return nil
	}
	inner, ok := err.(*Error) //nolint:errorlint // one further down keeps what was wrapped around it
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

// Errorf is an Error of a kind, yet without operation and object.
func Errorf(kind error, detail string, arguments ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(detail, arguments...)}
}
