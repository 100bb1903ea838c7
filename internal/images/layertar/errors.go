package layertar

import (
	"errors"
	"fmt"
)

// What is wrong with a layer, for errors.Is.
var (
	// ErrEscapes: an entry or its hard link leads out of the root. Apply.
	ErrEscapes = errors.New("leads out of the root")
	// ErrLimit: the layer is larger than Limits allow. Apply.
	ErrLimit = errors.New("over the limit")
	// ErrFormat: the stream is no layer, or is cut short or damaged, or an entry
	// makes no sense. Apply, Replay.
	ErrFormat = errors.New("not a sound layer")
	// ErrChanged: a file that the tar needs is not in the tree any more as it was
	// applied. Replay.
	ErrChanged = errors.New("no longer as it was applied")
	// ErrUnwritable: a file cannot be told in a layer. Write, WriteAll.
	ErrUnwritable = errors.New("cannot be written as a layer")
)

// EntryError says which entry of a tar, or file of a tree, stopped the work, and
// why. Where the tar itself is damaged it is the last entry that could be read,
// "" before the first.
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
