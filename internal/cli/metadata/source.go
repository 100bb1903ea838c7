package metadata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/metadatafile"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// source is metadata open for reading, with the root that was asked for.
type source struct {
	*metadata.File
	path   string
	size   units.Bytes
	live   metadata.Superblock // block 0's
	root   metadata.Superblock // the held root, or the same
	held   uint64              // where the held root is; 0: not asked for
	claims metadatafile.Claims
	// damaged: what is wrong is for the command to find out. live and root are
	// zero where they cannot be read.
	damaged  bool
	finished bool
}

// onMetadata runs do with the metadata in a file or device opened. Without
// --held no pool can use it meanwhile.
func onMetadata(c *command.Call, path string, do func(*source) error) error {
	return onSource(c, &source{path: path}, do)
}

// onDamaged is onMetadata for commands that look for damage themselves.
func onDamaged(c *command.Call, path string, do func(*source) error) error {
	return onSource(c, &source{path: path, damaged: true}, do)
}

func onSource(c *command.Call, s *source, do func(*source) error) (err error) {
	defer func() { err = errors.Join(sourceRemedy(c, s, err), s.close()) }()
	if err := s.open(c.Ctx, c.Metadata, c.Flags.Bool("held")); err != nil {
		return err
	}
	if s.live.NeedsCheck() && !s.damaged {
		fmt.Fprintf(c.Err, "thinctl: warning: metadata %s needs a check: the kernel stopped writing it after an error\n", s.path)
	}
	if err = do(s); s.finished {
		return err
	}
	return s.unmoved(err)
}

// finish is called after the last read, where nothing may be shown or named
// that was not read from one metadata snapshot. Otherwise onMetadata looks at
// the end.
func (s *source) finish(fault error) error {
	s.finished = true
	return s.unmoved(s.about(fault))
}

// unmoved looks whether the metadata snapshot is still the one that was read.
// Once it is released, its blocks may be written to and still look sound.
func (s *source) unmoved(fault error) error {
	if s.held == 0 {
		return fault
	}
	live, err := metadata.ReadSuperblock(s.File)
	if err == nil && live.HeldRoot == s.held {
		var root metadata.Superblock
		if root, err = metadata.HeldRoot(s.File, s.held); root == s.root {
			return fault // or as unreadable as it was
		}
	}
	return errors.Join(exit.Errorf(exit.ErrUnhealthy, "metadata %s: the metadata snapshot was released while it was being read, so the result is invalid; reserve another and try again", s.path), err)
}

func (s *source) open(ctx context.Context, host metadatafile.Host, held bool) (err error) {
	if held {
		s.File, err = metadata.Open(s.path)
	} else {
		s.File, s.claims, err = host.OpenOffline(ctx, s.path)
	}
	if err != nil {
		return err
	}
	if s.size, err = s.Size(); err != nil {
		return fmt.Errorf("read the size of metadata %s: %w", s.path, err)
	}
	if s.live, err = metadata.ReadSuperblock(s.File); err != nil && (held || !s.bearable(err)) {
		return s.about(err)
	}
	if !s.damaged {
		if err := s.plausible(); err != nil {
			return err
		}
	}
	if s.root = s.live; !held {
		return nil
	}
	if s.live.HeldRoot == 0 {
		return exit.Errorf(thinpool.ErrNotFound, "metadata %s: no metadata snapshot is held; `dmsetup message POOL 0 reserve_metadata_snap` creates one", s.path)
	}
	s.held = s.live.HeldRoot
	if s.root, err = metadata.HeldRoot(s.File, s.held); err != nil && !s.bearable(err) {
		return s.about(err)
	}
	return nil
}

// bearable errors are damage, not another thing or a newer format.
func (s *source) bearable(err error) bool {
	return s.damaged && (errors.Is(err, metadata.ErrChecksum) || errors.Is(err, metadata.ErrCorrupt))
}

// blocks is how many metadata blocks there really are.
func (s *source) blocks() uint64 { return uint64(s.size / metadata.BlockSize) }

// dataBlocks is the size of the data device, 0 where nobody knows. A held root
// has none; that of the live superblock may be looked at even while a pool is
// active, and is not smaller than it was.
func (s *source) dataBlocks() uint64 {
	if blocks := s.live.DataSpaceMap.Blocks; blocks <= maxDataBlocks {
		return blocks
	}
	return 0
}

// maxDataBlocks: a mapping has 40 bits for the data block (dm-thin-metadata.c).
const maxDataBlocks = 1 << 40

func (s *source) close() error {
	var fault error
	if s.File != nil {
		fault = s.Close()
	}
	return errors.Join(fault, s.claims.Close())
}

// plausible holds what the superblock claims against what there is.
func (s *source) plausible() error {
	if claimed, have := s.live.MetadataSpaceMap.Blocks, s.blocks(); claimed > have {
		return exit.Errorf(exit.ErrUnhealthy, "metadata %s: the superblock has %d metadata blocks, the file only %d: copy the whole device", s.path, claimed, have)
	}
	if data := s.live.DataSpaceMap.Blocks; data > maxDataBlocks {
		return exit.Errorf(exit.ErrUnhealthy, "metadata %s: the superblock is damaged: it has %d data blocks, more than can be mapped; `thinctl metadata repair %[1]s -o NEW --data-blocks N` repairs it", s.path, data)
	}
	return nil
}

// noSuperblock is what to do about a superblock that cannot be read.
const noSuperblock = "nothing can be found without the superblock: look for another copy, or for a dump to use with `thinctl metadata restore`"

func sourceRemedy(c *command.Call, s *source, err error) error {
	if s.live.Version == 0 && (errors.Is(err, metadata.ErrChecksum) || errors.Is(err, metadata.ErrCorrupt)) {
		return fmt.Errorf("%w; %s", err, noSuperblock)
	}
	return metadataRemedy(c, s.path, err)
}

// metadataRemedy says what to do about an error of package metadata.
func metadataRemedy(c *command.Call, path string, err error) error {
	remedy := ""
	switch {
	case err == nil || exit.IsFailure(err):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return exit.Errorf(thinpool.ErrNotFound, "%v", err)
	case errors.Is(err, fs.ErrPermission):
		remedy = "run it with sudo"
	case fault.KindOf(err) == fault.Busy:
		remedy = "an active pool probably uses it: read its metadata snapshot with --held, or use `thinctl pool status` or `thinctl pool check`"
	case errors.Is(err, metadata.ErrNoDevice):
		remedy = "`thinctl metadata show " + path + "` lists the thin devices"
	case errors.Is(err, metadata.ErrEmpty), errors.Is(err, metadata.ErrNotMetadata):
		remedy = "use the metadata device of a pool or a copy of it, not the data device"
	case fault.KindOf(err) == fault.Unsupported:
		remedy = "a newer kernel wrote it: use a version of thinctl that supports it"
	case errors.Is(err, metadata.ErrTruncated):
		remedy = "copy the whole device"
	case errors.Is(err, metadata.ErrNoSpace):
		remedy = "set a larger --size, or use a larger device"
	case errors.Is(err, metadata.ErrChecksum), errors.Is(err, metadata.ErrCorrupt):
		remedy = "`thinctl metadata check " + path + "` lists the damage, `thinctl metadata repair " + path + " -o NEW` writes a repaired copy to another file or device"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, remedy)
}

// times is how large so many blocks are, at most what 64 bits hold.
func times(blocks uint64, size units.Bytes) units.Bytes {
	if size > 0 && blocks > uint64(^units.Bytes(0)/size) {
		return ^units.Bytes(0)
	}
	return units.Bytes(blocks) * size
}
