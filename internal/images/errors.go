package images

import (
	"errors"

	"thinctl/fault"
)

// ErrDigest is the error for a layer whose contents do not have its digest. Load, Save and
// Push return it.
//
// Package reference has the errors for names and ids that are not found or ambiguous,
// package manifest those for archives and registries.
var ErrDigest = errors.New("wrong digest")

// errInUse is the error for an image that a container was made of, or that has several
// names.
var errInUse = fault.New(fault.Busy, "in use")

// Error is an error of this package.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }
