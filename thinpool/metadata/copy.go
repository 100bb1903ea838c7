package metadata

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

const copyChunk = 1 << 20 // bytes

// Copy copies the first size bytes of the metadata at from to the metadata at to, the
// superblock last. Both are opened exclusively; no pool may be active on them. Until Copy
// returns, the content at to is incomplete even if its superblock is valid. A call that was
// killed can be repeated. On return everything is on stable storage.
//
// A regular file is overwritten if it is all zeros or has the uuid of the same pool. A block
// device is overwritten only if it has the uuid of the same pool, because the path may belong
// to another disk now (ErrOtherPool, ErrNotMetadata).
func Copy(ctx context.Context, from, to string, size units.Bytes) error {
	if err := copyAll(ctx, from, to, size); err != nil {
		return fmt.Errorf("copy metadata %s to %s: %w", from, to, err)
	}
	return nil
}

func copyAll(ctx context.Context, from, to string, size units.Bytes) (err error) {
	if size < BlockSize || size%BlockSize != 0 {
		return fmt.Errorf("size %s is not a multiple of the block size", size)
	}
	source, err := openClaimed(from, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := openClaimed(to, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	for _, f := range []*File{source, target} {
		if has, err := f.Size(); err != nil || has < size {
			return errors.Join(err, fmt.Errorf("%s: %w: it has %s, want %s", f.f.Name(), ErrTruncated, has, size))
		}
	}
	if err := target.checkTarget(source); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	for at := BlockSize; at < size; at += copyChunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := target.copyRange(source, at, min(copyChunk, size-at)); err != nil {
			return err
		}
	}
	// The blocks that the superblock refers to must be durable before it is.
	if err := target.f.Sync(); err != nil {
		return err
	}
	if err := target.copyRange(source, 0, BlockSize); err != nil {
		return err
	}
	return target.f.Sync()
}

func openClaimed(path string, how int) (*File, error) {
	f, err := open(path, how|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s: %w: deactivate the pool first: %w", path, fault.Busy, err)
	}
	return f, err
}

func (f *File) copyRange(source *File, at, length units.Bytes) error {
	b := aligned(int(length))
	if _, err := source.f.ReadAt(b, int64(at)); err != nil {
		return fmt.Errorf("read %s at %d: %w", source.f.Name(), at, err)
	}
	_, err := f.f.WriteAt(b, int64(at))
	return err
}

// checkTarget returns an error if the target does not belong to source's pool. It compares only
// magic and uuid, because a power failure may have left the superblock with a wrong checksum.
func (f *File) checkTarget(source *File) error {
	held, err := f.firstBlock()
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
	own, err := source.firstBlock()
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
		return fmt.Errorf("%w: uuid %x", ErrOtherPool, theirs)
	}
	return nil
}

func (f *File) firstBlock() ([]byte, error) {
	b := newBlock()
	return b, readBlock(f, 0, b)
}
