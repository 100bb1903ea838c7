package layertar

import (
	"errors"
	"fmt"
)

// The errors for layers and trees.
var (
	// ErrEscapes is returned by Apply if an entry or a hard link leads out of the root.
	ErrEscapes = errors.New("leads out of the root")
	// ErrLimit is returned by Apply if the layer is larger than the limits.
	ErrLimit = errors.New("over the limit")
	// ErrFormat is returned by Apply and Replay if the stream is not a layer, or is
	// truncated or damaged.
	ErrFormat = errors.New("not a valid layer")
	// ErrChanged is returned by Replay if the tree no longer has a file as it was
	// applied.
	ErrChanged = errors.New("no longer as it was applied")
	// ErrUnwritable is returned by Write and WriteAll for a file that a layer cannot
	// contain.
	ErrUnwritable = errors.New("cannot be written as a layer")
)

// EntryError is an error with the entry of a tar, or the file of a tree, that caused
// it. If the tar itself is damaged, Entry is the last entry that was read, or "" before
// the first.
type EntryError struct {
	Entry string
	Why   error
}

func (e *EntryError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("before the first entry: %v", e.Why)
	}
	return fmt.Sprintf("entry %q: %v", e.Entry, e.Why)
}

func (e *EntryError) Unwrap() error { return e.Why }

func wrong(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{kind}, args...)...)
}
