package manifest

import (
	"errors"
	"fmt"
	"strings"
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
type Error struct {
	Op     string // load, save, pull, push, ...
	Object string // the archive or the name
	Part   string // the entry or blob inside, or ""
	Kind   error  // a sentinel, or nil
	Detail string // the circumstances
	Remedy string // what to do next
	Err    error  // the cause
}

func (e *Error) Error() string {
	var parts []string
	if e.Op != "" {
		parts = append(parts, e.Op+" "+e.Object)
	}
	if e.Part != "" {
		parts = append(parts, e.Part)
	}
	if e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	text := strings.Join(parts, ": ")
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
