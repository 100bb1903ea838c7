package metadata

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

const copyChunk = 1 << 20 // bytes

// Copy writes the first size bytes of the metadata at from over those at to,
// the superblock last, of a pool that is not active. Both are claimed meanwhile.
// Until it returns, to is of no use whatever its superblock says; called again
// after a kill at any point, it ends with the whole. On return all is on stable
// storage.
//
// A file is written over where it is blank or the same pool's already, a block
// device only where it is the same pool's: its path may have come to mean
// another disk since (ErrOtherPool, ErrNotMetadata).
func Copy(ctx context.Context, from, to string, size units.Bytes) error {
	if err := copyAll(ctx, from, to, size); err != nil {
		return fmt.Errorf("copying metadata %s to %s: %w", from, to, err)
	}
	return nil
}

func copyAll(ctx context.Context, from, to string, size units.Bytes) (err error) {
	if size < BlockSize || size%BlockSize != 0 {
		return fmt.Errorf("%s are not whole blocks", size)
	}
	source, err := claim(from, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := claim(to, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	for _, f := range []*File{source, target} {
		if has, err := f.Size(); err != nil || has < size {
			return errors.Join(err, fmt.Errorf("%s: %w: it has %s, %s are needed", f.f.Name(), ErrTruncated, has, size))
		}
	}
	if err := target.mayTake(source); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	for at := BlockSize; at < size; at += copyChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := target.take(source, at, min(copyChunk, size-at)); err != nil {
			return err
		}
	}
	// What the superblock leads to has to be there before it.
	if err := target.f.Sync(); err != nil {
		return err
	}
	if err := target.take(source, 0, BlockSize); err != nil {
		return err
	}
	return target.f.Sync()
}

func claim(path string, how int) (*File, error) {
	f, err := open(path, how|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s: %w: deactivate the pool first: %w", path, ErrBusy, err)
	}
	return f, err
}

func (f *File) take(source *File, at, length units.Bytes) error {
	b := aligned(int(length))
	if _, err := source.f.ReadAt(b, int64(at)); err != nil {
		return fmt.Errorf("reading %s at %d: %w", source.f.Name(), at, err)
	}
	_, err := f.f.WriteAt(b, int64(at))
	return err
}

// mayTake refuses a target that is not source's pool's. It goes by the plain
// fields: a power cut may have left the superblock with a wrong checksum.
func (f *File) mayTake(source *File) error {
	held, err := f.head()
	if err != nil {
		return err
	}
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	if !isBlock(info) && bytes.Count(held, []byte{0}) == len(held) {
		return nil
	}
	own, err := source.head()
	if err != nil {
		return err
	}
	for _, b := range [][]byte{held, own} {
		if magic := binary.LittleEndian.Uint64(b[offMagic:]); magic != superblockMagic {
			return &BlockError{Kind: ErrNotMetadata, Found: fmt.Sprintf("magic %d instead of %d", magic, superblockMagic)}
		}
	}
	theirs, mine := [16]byte(held[offUUID:]), [16]byte(own[offUUID:])
	if theirs != mine || mine == [16]byte{} {
		return fmt.Errorf("%w, of uuid %x", ErrOtherPool, theirs)
	}
	return nil
}

func (f *File) head() ([]byte, error) {
	b := newBlock()
	return b, readBlock(f, 0, b)
}
