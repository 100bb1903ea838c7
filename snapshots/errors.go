package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/containerd/errdefs"

	"thinctl/fault"
)

// Error is the form of this package's errors. Errors of the snapshotter resolve to
// a kind of containerd/errdefs (errdefs.Resolve). Cure is [PoolFull], a thinpool.Cure, or
// nil.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// refused returns an error that this package decided on.
func refused(op, key string, kind fault.Kind, detail string) error {
	return &Error{Op: op, Object: "snapshot " + quoted(key), Kind: kind, Detail: detail}
}

// missing reports whether this package found no snapshot of a name. Devices and files
// that the layers below did not find do not count.
func missing(err error) bool {
	var own *Error
	return errors.As(err, &own) && own.Kind == fault.NotFound //nolint:errorlint // the kind of this package alone
}

// failed wraps an error of the layers below for the snapshot of a key.
func failed(op, key string, err error) error { return wrapped(op, "snapshot "+quoted(key), err) }

func wrapped(op, object string, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return resolved{error: &Error{Op: op, Object: object, Err: err}, kind: kindBelow(err)}
}

// resolved is an error whose kind this package decides, whatever kinds its causes
// have.
type resolved struct {
	error
	kind error
}

func (r resolved) Unwrap() []error { return []error{r.kind, r.error} }

// kindBelow returns the errdefs kind for an error of the layers below. It is never
// NotFound: containerd treats a snapshot that is not found as removed, and a pool
// whose files are missing must not look like that. It is never NotImplemented
// either: containerd would ask another service.
func kindBelow(err error) error {
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, ended) {
			return ended
		}
	}
	switch kind := fault.KindOf(err); kind {
	case fault.Invalid, fault.Full, fault.Damaged, fault.Busy, fault.Unavailable, fault.Unhealthy:
		return errdefs.Resolve(kind)
	case fault.NotFound:
		return errdefs.ErrUnavailable
	}
	if errors.Is(err, fs.ErrNotExist) { // a file of the pool
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrUnknown
}

// Classify returns an error that resolves to a kind of containerd/errdefs, as those of the
// snapshotter do, for errors of the layers below.
func Classify(err error) error {
	var own *Error
	if err != nil && (!errors.As(err, &own) || own.Kind == nil) {
		return resolved{error: err, kind: kindBelow(err)}
	}
	return err
}

// quoted quotes a name that a client sent, and shortens it: messages go to logs and
// events.
func quoted(name string) string {
	const shown = 200
	if len(name) > shown {
		return fmt.Sprintf("%.200q... (%d bytes)", name, len(name))
	}
	return fmt.Sprintf("%q", name)
}
