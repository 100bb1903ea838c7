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
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// source is open metadata and its root.
type source struct {
	*metadata.File
	path   string
	size   units.Bytes
	live   metadata.Superblock // in block 0
	root   metadata.Superblock // the held root, or live
	held   uint64              // block of the held root; 0 without --held
	claims metadatafile.Claims
	// damaged is set for commands that search for damage. live and root are zero if they cannot be
	// read.
	damaged  bool
	finished bool
}

// onMetadata opens the metadata in a file or device and runs do. Without --held it claims the
// metadata, so that no pool uses it in the meantime.
func onMetadata(c *command.Call, path string, do func(*source) error) error {
	return onSource(c, &source{path: path}, do)
}

// onDamaged is onMetadata for commands that search for damage.
func onDamaged(c *command.Call, path string, do func(*source) error) error {
	return onSource(c, &source{path: path, damaged: true}, do)
}

func onSource(c *command.Call, s *source, do func(*source) error) (err error) {
	defer func() { err = errors.Join(sourceRemedy(s, err), s.close()) }()
	if err := s.open(c.Ctx, c.Metadata, c.Flags.Bool("held")); err != nil {
		return err
	}
	if s.live.NeedsCheck() && !s.damaged {
		fmt.Fprintf(c.Err, "thinctl: warning: metadata %s needs a check: the kernel stopped writing it after an error\n",
			s.path)
	}
	if err = do(s); s.finished {
		return err
	}
	return s.checkHeld(err)
}

// finish is called after the last read if the result must come from one metadata snapshot.
// Otherwise onMetadata checks at the end.
func (s *source) finish(failed error) error {
	s.finished = true
	return s.checkHeld(s.about(failed))
}

// checkHeld fails if the metadata snapshot is no longer the one that was read. After its release
// its blocks can be overwritten and still look valid.
func (s *source) checkHeld(failed error) error {
	if s.held == 0 {
		return failed
	}
	live, err := metadata.ReadSuperblock(s.File)
	if err == nil && live.HeldRoot == s.held {
		var root metadata.Superblock
		if root, err = metadata.HeldRoot(s.File, s.held); root == s.root {
			return failed // or as unreadable as before
		}
	}
	return errors.Join(exit.Errorf(fault.Unhealthy,
		"metadata %s: the metadata snapshot was released while it was being read, so the result is invalid; reserve "+
			"another and try again", s.path), err)
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
	if s.live, err = metadata.ReadSuperblock(s.File); err != nil && (held || !s.isDamage(err)) {
		return s.about(err)
	}
	if !s.damaged {
		if err := s.checkCounts(); err != nil {
			return err
		}
	}
	if s.root = s.live; !held {
		return nil
	}
	if s.live.HeldRoot == 0 {
		return exit.Errorf(fault.NotFound, "metadata %s: no metadata snapshot is held; `dmsetup message POOL 0 "+
			"reserve_metadata_snap` creates one", s.path)
	}
	s.held = s.live.HeldRoot
	if s.root, err = metadata.HeldRoot(s.File, s.held); err != nil && !s.isDamage(err) {
		return s.about(err)
	}
	return nil
}

// isDamage reports whether an error is damage, and not another kind of data or a newer format.
func (s *source) isDamage(err error) bool {
	return s.damaged && (errors.Is(err, metadata.ErrChecksum) || errors.Is(err, metadata.ErrCorrupt))
}

// blocks returns the number of metadata blocks in the file or device.
func (s *source) blocks() uint64 { return uint64(s.size / metadata.BlockSize) }

// dataBlocks returns the size of the data device, 0 if it is unknown. A held root has no size.
// That of the live superblock can be read while a pool is active, and never shrinks.
func (s *source) dataBlocks() uint64 {
	if blocks := s.live.DataSpaceMap.Blocks; blocks <= maxDataBlocks {
		return blocks
	}
	return 0
}

// maxDataBlocks is the limit of a mapping, which has 40 bits for the data block
// (dm-thin-metadata.c).
const maxDataBlocks = 1 << 40

func (s *source) close() error {
	var fault error
	if s.File != nil {
		fault = s.Close()
	}
	return errors.Join(fault, s.claims.Close())
}

// checkCounts compares the counts in the superblock with the size of the file.
func (s *source) checkCounts() error {
	if claimed, have := s.live.MetadataSpaceMap.Blocks, s.blocks(); claimed > have {
		return exit.Errorf(fault.Unhealthy, "metadata %s: the superblock has %d metadata blocks, the file only %d: "+
			"copy the whole device", s.path, claimed, have)
	}
	if data := s.live.DataSpaceMap.Blocks; data > maxDataBlocks {
		return exit.Errorf(fault.Unhealthy, "metadata %s: the superblock is damaged: it has %d data blocks, more "+
			"than can be mapped; `thinctl metadata repair %[1]s -o NEW --data-blocks N` repairs it", s.path, data)
	}
	return nil
}

// noSuperblock is the hint for a superblock that cannot be read.
const noSuperblock = "nothing can be found without the superblock: look for another copy, or for a dump to use " +
	"with `thinctl metadata restore`"

func sourceRemedy(s *source, err error) error {
	if s.live.Version == 0 && (errors.Is(err, metadata.ErrChecksum) || errors.Is(err, metadata.ErrCorrupt)) {
		return fmt.Errorf("%w; %s", err, noSuperblock)
	}
	return metadataRemedy(s.path, err)
}

// metadataRemedy adds a hint to an error of package metadata.
func metadataRemedy(path string, err error) error {
	remedy := ""
	switch {
	case err == nil || exit.IsFailure(err):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return exit.Errorf(fault.NotFound, "%v", err)
	case errors.Is(err, fs.ErrPermission):
		remedy = "run it with sudo"
	case fault.KindOf(err) == fault.Busy:
		remedy = "an active pool probably uses it: read its metadata snapshot with --held, or use `thinctl pool " +
			"status` or `thinctl pool check`"
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
		remedy = "`thinctl metadata check " + path + "` lists the damage, `thinctl metadata repair " + path + " -o " +
			"NEW` writes a repaired copy to another file or device"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, remedy)
}

// times returns the size of blocks, limited to what 64 bits hold.
func times(blocks uint64, size units.Bytes) units.Bytes {
	if size > 0 && blocks > uint64(^units.Bytes(0)/size) {
		return ^units.Bytes(0)
	}
	return units.Bytes(blocks) * size
}
