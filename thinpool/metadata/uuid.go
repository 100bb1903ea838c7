package metadata

import (
	"errors"
	"fmt"

	"thinctl/fault"

	"golang.org/x/sys/unix"
)

// WriteUUID writes uuid into the superblock of an inactive pool, so that the metadata
// identifies its pool. The superblock must be sound. If it has this uuid already, nothing
// changes; if it has another, the error is ErrOtherPool. On return the uuid is on stable
// storage.
//
// After a power failure the block is the old one or the new one if the disk writes 4096 bytes
// atomically. Each commit of the kernel relies on this too.
func WriteUUID(device string, uuid [16]byte) error {
	if err := stamp(device, uuid); err != nil {
		return fmt.Errorf("write pool uuid %x to metadata %s: %w", uuid, device, err)
	}
	return nil
}

func stamp(device string, uuid [16]byte) error {
	if uuid == ([16]byte{}) {
		return errors.New("the uuid is all zeros")
	}
	f, err := open(device, unix.O_RDWR|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: deactivate the pool first: %w", fault.Busy, err)
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
		return &BlockError{Kind: fault.Unsupported, Found: fmt.Sprintf("read-only compatible features %#x", s.CompatRO)}
	case s.UUID == uuid:
		// An earlier call may have been killed between its write and its sync.
		return f.f.Sync()
	case s.UUID != [16]byte{}:
		return fmt.Errorf("%w: uuid %x", ErrOtherPool, s.UUID)
	}
	copy(b[offUUID:], uuid[:])
	setChecksum(b, superblockSalt)
	if _, err := f.f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.f.Sync()
}
