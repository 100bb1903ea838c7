package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// metadataHost is what the machine knows of who uses a file or device. Tests
// have their own.
type metadataHost struct {
	loops   func(ctx context.Context, file string) ([]loopback.Device, error)
	claim   func(device string) (io.Closer, error)
	offline func(path string) (*metadata.File, error)
}

func localMetadata() metadataHost {
	return metadataHost{
		loops:   loopback.New(loopback.Options{}).Find,
		claim:   func(device string) (io.Closer, error) { return metadata.OpenOffline(device) },
		offline: metadata.OpenOffline,
	}
}

// source is metadata open for reading, with the root that was asked for.
type source struct {
	*metadata.File
	path   string
	size   units.Bytes
	live   metadata.Superblock // block 0's
	root   metadata.Superblock // the held root, or the same
	claims []io.Closer
}

// onMetadata runs do with the metadata in a file or device opened. Without
// --held no pool can use it meanwhile.
func (c *call) onMetadata(path string, do func(*source) error) (err error) {
	s := &source{path: path}
	defer func() { err = errors.Join(c.metadataRemedy(path, err), s.close()) }()
	if err := s.open(c.ctx, c.metadata, c.flags.Bool("held")); err != nil {
		return err
	}
	if s.live.NeedsCheck() {
		fmt.Fprintf(c.err, "thinctl: warning: metadata %s needs a check: the kernel met a failure while it wrote, and no longer does\n", path)
	}
	return s.unmoved(do(s))
}

// unmoved looks whether the metadata snapshot is still the one that was read.
// Once it is released, its blocks may be written to and still look sound.
func (s *source) unmoved(fault error) error {
	if s.root.Block == 0 {
		return fault
	}
	live, err := metadata.ReadSuperblock(s.File)
	if err == nil && live.HeldRoot == s.live.HeldRoot {
		var root metadata.Superblock
		if root, err = metadata.HeldRoot(s.File, live.HeldRoot); err == nil && root == s.root {
			return fault
		}
	}
	return errors.Join(failed(errUnhealthy, "metadata %s: the metadata snapshot was released while it was read: what was read of it counts for nothing; reserve another and try again", s.path), err)
}

func (s *source) open(ctx context.Context, host metadataHost, held bool) (err error) {
	if held {
		s.File, err = metadata.Open(s.path)
	} else {
		s.File, err = s.openIdle(ctx, host)
	}
	if err != nil {
		return err
	}
	if s.size, err = s.Size(); err != nil {
		return fmt.Errorf("asking for the size of metadata %s: %w", s.path, err)
	}
	if s.live, err = metadata.ReadSuperblock(s.File); err != nil {
		return fmt.Errorf("metadata %s: %w", s.path, err)
	}
	if err := s.plausible(); err != nil {
		return err
	}
	if s.root = s.live; !held {
		return nil
	}
	if s.live.HeldRoot == 0 {
		return failed(thinpool.ErrNotFound, "metadata %s: no metadata snapshot is held; `dmsetup message POOL 0 reserve_metadata_snap` makes one", s.path)
	}
	if s.root, err = metadata.HeldRoot(s.File, s.live.HeldRoot); err != nil {
		return fmt.Errorf("metadata %s: %w", s.path, err)
	}
	return nil
}

// openIdle claims the loop devices that have a file behind them: a pool claims
// the device, and the file does not show it.
func (s *source) openIdle(ctx context.Context, host metadataHost) (*metadata.File, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("opening metadata %s: %w", s.path, err)
	}
	if info.Mode().IsRegular() {
		loops, err := host.loops(ctx, s.path)
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("looking for loop devices on metadata %s: %w", s.path, err)
		}
		for _, loop := range loops {
			claim, err := host.claim(loop.Path)
			if err != nil {
				return nil, fmt.Errorf("metadata %s is behind %s: %w", s.path, loop.Path, err)
			}
			s.claims = append(s.claims, claim)
		}
	}
	return host.offline(s.path)
}

func (s *source) close() error {
	var faults []error
	if s.File != nil {
		faults = append(faults, s.Close())
	}
	for _, claim := range s.claims {
		faults = append(faults, claim.Close())
	}
	return errors.Join(faults...)
}

// plausible holds what the superblock claims against what there is.
func (s *source) plausible() error {
	have := uint64(s.size / metadata.BlockSize)
	if claimed := s.live.MetadataSpaceMap.Blocks; claimed > have {
		return failed(errUnhealthy, "metadata %s: the superblock speaks of %d metadata blocks, there are %d: copy the whole device", s.path, claimed, have)
	}
	// A mapping has 40 bits for the data block (dm-thin-metadata.c).
	if data := s.live.DataSpaceMap.Blocks; data > 1<<40 {
		return failed(errUnhealthy, "metadata %s: the superblock speaks of %d data blocks, more than can be mapped: it is damaged, look for another copy", s.path, data)
	}
	return nil
}

// metadataRemedy says what to do about an error of package metadata.
func (c *call) metadataRemedy(path string, err error) error {
	remedy := ""
	switch {
	case err == nil || isFailure(err):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return failed(thinpool.ErrNotFound, "%v", err)
	case errors.Is(err, fs.ErrPermission):
		remedy = "run it with sudo"
	case errors.Is(err, metadata.ErrBusy):
		remedy = "an active pool is the likely holder: read its metadata snapshot with --held, or ask with `thinctl pool status` or `thinctl pool check`"
	case errors.Is(err, metadata.ErrNoDevice):
		remedy = "`thinctl metadata show " + path + "` lists those there are"
	case errors.Is(err, metadata.ErrEmpty), errors.Is(err, metadata.ErrNotMetadata):
		remedy = "give a pool's metadata device or a copy of it, not the data device"
	case errors.Is(err, metadata.ErrUnsupported):
		remedy = "a newer kernel has made it: read it with a thinctl that knows it"
	case errors.Is(err, metadata.ErrTruncated):
		remedy = "copy the whole device"
	case errors.Is(err, metadata.ErrChecksum), errors.Is(err, metadata.ErrCorrupt):
		remedy = "thin_check says how much is damaged, thin_repair writes what is left to another device"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, remedy)
}

func isFailure(err error) bool {
	var own *failure
	return errors.As(err, &own)
}

// times is how large so many blocks are, at most what 64 bits hold.
func times(blocks uint64, size units.Bytes) units.Bytes {
	if size > 0 && blocks > uint64(^units.Bytes(0)/size) {
		return ^units.Bytes(0)
	}
	return units.Bytes(blocks) * size
}
