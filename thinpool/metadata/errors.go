package metadata

import (
	"errors"
	"fmt"

	"thinctl/fault"
)

// The causes of errors, for errors.Is. Each comment lists the functions that return it.
// The kinds fault.Busy (another process or the kernel has the device open exclusively)
// and fault.Unsupported (this package does not implement the format's version or one of
// its features) have no more specific cause.
var (
	// ErrEmpty: all 4096 bytes of the superblock are zero, as on a new device. It has no
	// kind, because only the caller knows whether there should be a pool.
	// ReadSuperblock, WriteUUID.
	ErrEmpty = errors.New("empty")
	// ErrNotMetadata: the superblock does not have dm-thin's magic number. It has no kind,
	// for the same reason. ReadSuperblock, HeldRoot, WriteUUID, Copy.
	ErrNotMetadata = errors.New("not thin pool metadata")
	// ErrChecksum: the content of a block does not match its checksum. All functions that
	// read blocks.
	ErrChecksum = fault.New(fault.Damaged, "wrong checksum")
	// ErrCorrupt: a block has a correct checksum and impossible content. All functions that
	// read blocks.
	ErrCorrupt = fault.New(fault.Damaged, "corrupt")
	// ErrTruncated: the file or device ends before a block that is needed. All functions that
	// read blocks.
	ErrTruncated = fault.New(fault.Damaged, "ends too soon")
	// ErrNoDevice: the metadata has no thin device of that id. Runs, Delta, Freed, Dump.
	ErrNoDevice = fault.New(fault.NotFound, "no such thin device")
	// ErrOtherPool: the superblock has the uuid of another pool. WriteUUID, Copy.
	ErrOtherPool = fault.New(fault.Refused, "belongs to another pool")
)

// BlockError is an error in one metadata block.
type BlockError struct {
	Block uint64
	Kind  error  // a cause of this package or fault.Unsupported; nil if the read failed
	Found string // the content that is wrong
	Err   error  // the cause, such as the error of the read; may be nil
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

// Unwrap returns the sentinel and the cause.
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
