package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ClearNeedsCheck clears the flag that keeps the kernel from writing, of a pool
// that is not active and whose metadata [Check] finds sound: the flag is all
// that tells the kernel otherwise. On return this is on stable storage.
func ClearNeedsCheck(device string) error {
	if err := clearNeedsCheck(device); err != nil {
		return fmt.Errorf("clearing needs_check of metadata %s: %w", device, err)
	}
	return nil
}

func clearNeedsCheck(device string) error {
	f, err := open(device, unix.O_RDWR)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: deactivate the pool first: %w", ErrBusy, err)
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
		return &BlockError{Kind: ErrUnsupported, Found: fmt.Sprintf("features %#x that allow reading only", s.CompatRO)}
	case s.NeedsCheck():
		binary.LittleEndian.PutUint32(b[offFlags:], s.Flags&^flagNeedsCheck)
		seal(b, superblockSalt)
		if _, err := f.f.WriteAt(b, 0); err != nil {
			return err
		}
	}
	return f.f.Sync()
}
