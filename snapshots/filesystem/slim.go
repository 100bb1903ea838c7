package filesystem

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// Slim discards the zeros that mkfs wrote to a new file system on a thin volume,
// whose unallocated blocks read as zeros anyway. These are the log of xfs: 64 MiB in a
// file system of 300 MiB or more. The device must not be mounted.
func Slim(ctx context.Context, device string) error {
	kind, _, err := Detect(device)
	if err != nil || kind != XFS {
		return in("slim", device, err)
	}
	ctx, cancel := bound(ctx, programBound)
	defer cancel()
	return in("slim", device, slimLog(ctx, device))
}

func slimLog(ctx context.Context, device string) (err error) {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	super := make([]byte, 512)
	if _, err := f.ReadAt(super, 0); err != nil {
		return err
	}
	log, ok := logOf(super)
	if !ok {
		return nil // the log is on another device
	}
	const piece = units.MiB // a pool with larger blocks keeps them
	buf, zeros := make([]byte, piece), make([]byte, piece)
	for at := log.start.RoundUp(piece); at+piece <= log.end; at += piece {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.ReadAt(buf, int64(at)); err != nil {
			return err
		}
		if !bytes.Equal(buf, zeros) {
			continue
		}
		if err := blockdev.Discard(f, at, piece); errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

type byteRange struct{ start, end units.Bytes }

// logOf returns the place of the log from an xfs superblock (fs/xfs/libxfs/xfs_format.h, struct
// xfs_dsb): sb_blocksize, sb_logstart, sb_agblocks, sb_logblocks, sb_agblklog.
func logOf(super []byte) (byteRange, bool) {
	be := binary.BigEndian
	block, start := units.Bytes(be.Uint32(super[4:])), be.Uint64(super[48:])
	group, blocks, shift := uint64(be.Uint32(super[84:])), be.Uint32(super[96:]), super[124]
	if start == 0 || shift > 31 {
		return byteRange{}, false
	}
	first := start>>shift*group + start&(1<<shift-1)
	return byteRange{units.Bytes(first) * block, (units.Bytes(first) + units.Bytes(blocks)) * block}, true
}
