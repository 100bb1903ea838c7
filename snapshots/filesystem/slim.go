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

// Slim gives back what mkfs wrote as zeros to a fresh file system on a thin
// volume, whose blocks read as zeros without that: the log of xfs, 64 MiB where
// the file system has 300 or more. The device must not be mounted.
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
		return nil // it is on another device
	}
	const piece = units.MiB // blocks of a pool are from 64 KiB to 1 GiB; larger ones stay
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

type stretch struct{ start, end units.Bytes }

// logOf finds the log in an xfs superblock (fs/xfs/libxfs/xfs_format.h, struct
// xfs_dsb): sb_blocksize, sb_logstart, sb_agblocks, sb_logblocks, sb_agblklog.
func logOf(super []byte) (stretch, bool) {
	be := binary.BigEndian
	block, start := units.Bytes(be.Uint32(super[4:])), be.Uint64(super[48:])
	group, blocks, shift := uint64(be.Uint32(super[84:])), be.Uint32(super[96:]), super[124]
	if start == 0 || shift > 31 {
		return stretch{}, false
	}
	first := start>>shift*group + start&(1<<shift-1)
	return stretch{units.Bytes(first) * block, (units.Bytes(first) + units.Bytes(blocks)) * block}, true
}
