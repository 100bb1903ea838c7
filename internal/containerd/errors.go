package containerd

import (
	"errors"
	"fmt"

	"thinctl/fault"
)

// What went wrong, for errors.Is.
var (
	// ErrInvalid: a key, a label, a filter or a field cannot be right. All calls.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such snapshot. All calls but Walk and Cleanup.
	ErrNotFound = errors.New("not found")
	// ErrExists: the key or name is taken. Prepare, View, Commit.
	ErrExists = errors.New("exists already")
	// ErrRefused: the snapshot is not in a state for that: a view cannot be
	// committed, a parent not be removed. Mounts, Commit, Remove.
	ErrRefused = errors.New("not possible")
	// ErrUnsupported: a part of containerd's interface that is not offered. Commit.
	ErrUnsupported = errors.New("not supported")
	// ErrInUse: the socket is served by another process. Listen.
	ErrInUse = errors.New("in use")
)

// Error says what was tried, on which object, why it failed and what to do.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }

// refused is an error of this package's own.
func refused(op, key string, kind error, detail string) error {
	return &Error{Op: op, Object: "snapshot " + quoted(key), Kind: kind, Detail: detail}
}

// failed dresses what the layers below said.
func failed(op, key string, err error) error {
	var told *Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return &Error{Op: op, Object: "snapshot " + quoted(key), Err: err}
}

// quoted shortens what a client has named: messages go to logs and events.
func quoted(name string) string {
	const shown = 200
	if len(name) > shown {
		return fmt.Sprintf("%.200q... (%d bytes)", name, len(name))
	}
	return fmt.Sprintf("%q", name)
}
