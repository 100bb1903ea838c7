package metadata

import (
	"errors"
	"fmt"
)

// What was found instead of good metadata, for errors.Is.
var (
	// ErrEmpty: the superblock's 4 KiB are all zero: no pool was made here yet.
	// ReadSuperblock, WriteUUID.
	ErrEmpty = errors.New("empty")
	// ErrNotMetadata: the superblock's magic is not dm-thin's. ReadSuperblock,
	// HeldRoot, WriteUUID, Copy.
	ErrNotMetadata = errors.New("not thin pool metadata")
	// ErrChecksum: a block's content does not match its checksum. All.
	ErrChecksum = errors.New("wrong checksum")
	// ErrCorrupt: a block is sealed by a right checksum, yet what it says cannot
	// be. All.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported: the format's version or features are not known here. All
	// that read a superblock.
	ErrUnsupported = errors.New("unsupported format")
	// ErrTruncated: the file or device ends before a block it should hold. All.
	ErrTruncated = errors.New("ends too soon")
	// ErrNoDevice: the metadata has no thin device of that id. Runs, Delta, Freed,
	// Dump.
	ErrNoDevice = errors.New("no such thin device")
	// ErrOtherPool: the superblock carries the uuid of another pool. WriteUUID, Copy.
	ErrOtherPool = errors.New("belongs to another pool")
	// ErrBusy: the device is claimed, mostly by the active pool.
	// WriteUUID, OpenOffline, ClearNeedsCheck, Copy.
	ErrBusy = errors.New("in use")
)

// BlockError says which metadata block is wrong and how.
type BlockError struct {
	Block uint64
	Kind  error  // a sentinel of this package, nil where reading failed
	Found string // what was found
	Err   error  // the cause, often the read's; may be nil
}

func (e *BlockError) Error() string {
	text := fmt.Sprintf("metadata block %d", e.Block)
	if e.Kind != nil {
		text += ": " + e.Kind.Error()
	}
	if e.Found != "" {
		text += ": " + e.Found
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap yields the sentinel and the cause.
func (e *BlockError) Unwrap() []error {
	var wrapped []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}

func corrupt(block uint64, format string, args ...any) error {
	return &BlockError{Block: block, Kind: ErrCorrupt, Found: fmt.Sprintf(format, args...)}
}
