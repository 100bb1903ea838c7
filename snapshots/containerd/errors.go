package containerd

import (
	"errors"
	"fmt"
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
type Error struct {
	Op     string // "prepare", "commit", ...
	Object string // `snapshot "default/12/web"`
	Kind   error  // one of this package's sentinels, or nil
	Detail string // what was found
	Remedy string // what to do next
	Err    error  // what the layer below said, or nil
}

func (e *Error) Error() string {
	text := e.Op + " " + e.Object
	if e.Kind != nil {
		text += ": " + e.Kind.Error()
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
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
