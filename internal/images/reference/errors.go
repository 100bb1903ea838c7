package reference

import (
	"errors"
	"fmt"
)

// What went wrong, for errors.Is.
var (
	// ErrInvalid: what was given can be no image's name. Parse, Find.
	ErrInvalid = errors.New("not a valid image name")
	// ErrNotFound: no image has this name or id. Find.
	ErrNotFound = errors.New("no such image")
	// ErrAmbiguous: the ids of several images begin so. Find.
	ErrAmbiguous = errors.New("ambiguous")
)

// Error is every error of this package.
type Error struct {
	Given  string // what was to be read
	Kind   error  // a sentinel of this package
	Detail string // why
	Remedy string // what to do about it
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%q: %v", e.Given, e.Kind)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap yields the sentinel.
func (e *Error) Unwrap() error { return e.Kind }
