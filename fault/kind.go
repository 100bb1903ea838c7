package fault

import (
	"errors"

	"github.com/containerd/errdefs"
)

// Kind is the class of a failure: what a program can act on, whichever package
// reports it. A Kind is an error, so that errors.Is finds it in a chain of causes.
type Kind uint8

// The kinds. Exit codes and gRPC codes are tables over them.
const (
	// Unknown is the kind of errors that have none.
	Unknown Kind = iota
	// Invalid: a name, an option or an input cannot be right, whatever the state.
	Invalid
	// NotFound: the named object does not exist.
	NotFound
	// Exists: the name, key or place is taken.
	Exists
	// Busy: another process, a mount or an operation has the object in use.
	Busy
	// Refused: the object is in a state that does not allow the operation.
	Refused
	// Unavailable: the object is not active or not reachable now.
	Unavailable
	// Unhealthy: a pool must be repaired, or given what it misses, first.
	Unhealthy
	// Full: no space, inodes or ids are left.
	Full
	// Damaged: what was read is not what was written.
	Damaged
	// Unsupported: the kernel, a program or a peer lacks the function.
	Unsupported
	// Denied: the caller has no permission.
	Denied
)

var kindTexts = [...]string{
	Unknown: "failed", Invalid: "invalid", NotFound: "not found", Exists: "exists already", Busy: "in use",
	Refused: "not possible", Unavailable: "not available", Unhealthy: "not healthy", Full: "full",
	Damaged: "damaged", Unsupported: "not supported", Denied: "no permission",
}

// Error returns the kind in words.
func (k Kind) Error() string { return kindTexts[k] }

// The kinds in containerd's vocabulary, from which gRPC codes follow.
var errdefsKinds = [...]error{
	Unknown: errdefs.ErrUnknown, Invalid: errdefs.ErrInvalidArgument, NotFound: errdefs.ErrNotFound,
	Exists: errdefs.ErrAlreadyExists, Busy: errdefs.ErrUnavailable, Refused: errdefs.ErrFailedPrecondition,
	Unavailable: errdefs.ErrUnavailable, Unhealthy: errdefs.ErrUnavailable, Full: errdefs.ErrResourceExhausted,
	Damaged: errdefs.ErrDataLoss, Unsupported: errdefs.ErrNotImplemented, Denied: errdefs.ErrPermissionDenied,
}

// Is reports whether target is the kind in the vocabulary of containerd/errdefs.
func (k Kind) Is(target error) bool { return target == errdefsKinds[k] }

// New returns an error value of a kind with its own text, for a failure that callers
// handle apart from others of the kind. errors.Is finds both the value and the kind.
func New(kind Kind, text string) error { return &sentinel{kind: kind, text: text} }

type sentinel struct {
	kind Kind
	text string
}

func (s *sentinel) Error() string        { return s.text }
func (s *sentinel) Is(target error) bool { return target == s.kind || s.kind.Is(target) }

// KindOf returns the outermost kind in an error's chain, which is the kind that the
// highest layer chose. Of joined errors the first with a kind counts. KindOf returns
// Unknown if there is none.
//
// errors.Is also finds kinds of deeper layers.
func KindOf(err error) Kind {
	switch e := err.(type) { //nolint:errorlint // the switch checks each node of the tree separately
	case nil:
		return Unknown
	case Kind:
		return e
	case *sentinel:
		return e.kind
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			if kind := KindOf(cause); kind != Unknown {
				return kind
			}
		}
		return Unknown
	}
	return KindOf(errors.Unwrap(err))
}
