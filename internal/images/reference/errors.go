package reference

import (
	"fmt"

	"thinctl/fault"
)

// ErrNotFound is the error of Find if no image has the name or id.
var ErrNotFound = fault.New(fault.NotFound, "no such image")

var (
	errName      = fault.New(fault.Invalid, "not a valid image name")
	errAmbiguous = fault.New(fault.Invalid, "ambiguous")
)

// Error is an error of this package.
type Error struct {
	Given  string // the name or id
	Kind   error
	Detail string
	Remedy string
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

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }
