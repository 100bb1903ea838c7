package metadata

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// WriteUUID writes uuid into the superblock of a pool that is not active, so that
// the metadata says itself which pool it is. The superblock must be sound and
// carry either no uuid or this one, and then nothing is changed. On return the
// uuid is on stable storage; where power fails before, the block is the old one
// or the new one, as far as the disk writes 4096 bytes whole: the kernel relies
// on the same in every commit.
func WriteUUID(device string, uuid [16]byte) error {
	if err := stamp(device, uuid); err != nil {
		return fmt.Errorf("stamping metadata %s with pool uuid %x: %w", device, uuid, err)
	}
	return nil
}

func stamp(device string, uuid [16]byte) error {
	if uuid == ([16]byte{}) {
		return errors.New("a uuid of zeros means no pool")
	}
	f, err := open(device, unix.O_RDWR|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: deactivate the pool first: %w", ErrBusy, err)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.stamp(uuid), f.f.Close())
}

func (f *File) stamp(uuid [16]byte) error {
	s, b, err := readSuperblock(f, 0)
	switch {
	case err != nil:
		return err
	case s.CompatRO != 0:
		return &BlockError{Kind: ErrUnsupported, Found: fmt.Sprintf("features %#x that allow reading only", s.CompatRO)}
	case s.UUID == uuid:
		// An earlier call may have died between its write and its sync.
		return f.f.Sync()
	case s.UUID != [16]byte{}:
		return fmt.Errorf("%w, of uuid %x", ErrOtherPool, s.UUID)
	}
	copy(b[offUUID:], uuid[:])
	seal(b, superblockSalt)
	if _, err := f.f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.f.Sync()
}
