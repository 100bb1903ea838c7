package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"thinctl/fault"

	"golang.org/x/sys/unix"
)

// ClearNeedsCheck clears the flag that makes the kernel keep a pool read-only. The pool must be
// inactive, and [Check] must have found its metadata sound: the flag is the only mark of a past
// failure. On return the change is on stable storage.
func ClearNeedsCheck(device string) error {
	if err := clearNeedsCheck(device); err != nil {
		return fmt.Errorf("clear needs_check of metadata %s: %w", device, err)
	}
	return nil
}

func clearNeedsCheck(device string) error {
	f, err := open(device, unix.O_RDWR)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: deactivate the pool first: %w", fault.Busy, err)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.clearNeedsCheck(), f.f.Close())
}

func (f *File) clearNeedsCheck() error {
	s, b, err := readSuperblock(f, 0)
	switch {
	case err != nil:
		return err
	case s.CompatRO != 0:
		return &BlockError{Kind: fault.Unsupported, Found: fmt.Sprintf("read-only compatible features %#x", s.CompatRO)}
	case s.NeedsCheck():
		binary.LittleEndian.PutUint32(b[offFlags:], s.Flags&^flagNeedsCheck)
		setChecksum(b, superblockSalt)
		if _, err := f.f.WriteAt(b, 0); err != nil {
			return err
		}
	}
	return f.f.Sync()
}
