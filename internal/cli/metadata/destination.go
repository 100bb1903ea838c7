package metadata

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/disk"
	"thinctl/internal/metadatafile"
	"thinctl/internal/newfile"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// destination is the target of new metadata: a new file, an empty file, or a device. It holds no
// valid metadata before commit.
type destination struct {
	*os.File
	path     string
	created  *newfile.File // nil if it existed before
	device   bool
	capacity uint64 // a device's metadata blocks
	claims   metadatafile.Claims
	began    bool
	done     bool
}

// openDestination opens and claims the target. Unless forced it must be empty. A target in use is
// always refused.
func openDestination(c *command.Call, path string, force bool) (_ *destination, err error) {
	t := &destination{path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if t.created, err = newfile.Create(path, false); err == nil {
			t.File = t.created.File
		}
		return t, err
	}
	switch {
	case err != nil:
		return t, fmt.Errorf("open target %s: %w", path, err)
	case info.Mode().IsRegular():
		if info.Size() > 0 && !force {
			return t, exit.Errorf(thinpool.ErrHoldsData,
				"target %s is a file with %s in it: choose another name, or remove the file first", path, units.Bytes(info.Size()))
		}
		if t.claims, err = c.Metadata.ClaimLoops(c.Ctx, path); fault.KindOf(err) == fault.Busy {
			return t, exit.Errorf(fault.Busy, "target %s is in use by a loop device: choose another name", path)
		} else if err != nil {
			return t, err
		}
	case info.Mode()&(os.ModeDevice|os.ModeCharDevice) == os.ModeDevice:
		t.device = true
	default:
		return t, fmt.Errorf("target %s: %v is neither a block device nor a regular file", path, info.Mode().Type())
	}
	if err := t.openExisting(info); err != nil || !t.device {
		return t, err
	}
	found, err := disk.Contents(path)
	if err == nil && found != "" && !force {
		err = exit.Errorf(thinpool.ErrHoldsData, "target %s holds %s: choose another device, or wipe it first", path, found)
	}
	return t, err
}

// openExisting opens a device or file, and fails if it was replaced in the meantime.
func (t *destination) openExisting(info os.FileInfo) (err error) {
	mode := os.O_RDWR
	if t.device {
		mode |= unix.O_EXCL // claims a device; creates nothing without O_CREATE
	}
	t.File, err = os.OpenFile(t.path, mode, 0)
	if errors.Is(err, unix.EBUSY) {
		return exit.Errorf(fault.Busy, "target %s is in use: choose another device", t.path)
	}
	if err != nil {
		return fmt.Errorf("open target %s: %w", t.path, err)
	}
	if opened, err := t.Stat(); err != nil || !os.SameFile(info, opened) {
		return errors.Join(fmt.Errorf("target %s was replaced while it was being opened: try again", t.path), err)
	}
	if !t.device {
		return nil
	}
	end, err := t.Seek(0, io.SeekEnd)
	t.capacity = min(uint64(end)/uint64(metadata.BlockSize), metadata.MaxBlocks)
	return err
}

// begin reserves space for metadata blocks and overwrites the old contents.
func (t *destination) begin(blocks uint64) error {
	t.began = true
	size := times(blocks, metadata.BlockSize)
	if t.device {
		if blocks > t.capacity {
			return exit.Errorf(metadata.ErrNoSpace, "target %s has space for %d metadata blocks, %d are needed", t.path,
				t.capacity, blocks)
		}
		return t.wipe()
	}
	if err := t.Truncate(0); err != nil {
		return err
	}
	return disk.Allocate(t.File, size)
}

// wipe overwrites the superblock and known signatures of a device.
func (t *destination) wipe() error {
	size := times(t.capacity, metadata.BlockSize)
	if _, err := t.WriteAt(make([]byte, min(size, units.MiB)), 0); err != nil {
		return fmt.Errorf("wipe the start of %s: %w", t.path, err)
	}
	return t.Sync()
}

// commit syncs the data, and gives a new file its name.
func (t *destination) commit() error {
	if t.created != nil {
		if err := t.created.Commit(); err != nil {
			return err
		}
	} else if err := t.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", t.path, err)
	}
	t.done = true
	return nil
}

// close removes what was not committed.
func (t *destination) close() error {
	var fault error
	switch {
	case t.File == nil:
	case t.created != nil:
		fault = t.created.Close()
	default:
		if t.began && !t.done {
			fault = t.undo()
		}
		fault = errors.Join(fault, t.Close())
	}
	return errors.Join(fault, t.claims.Close())
}

func (t *destination) undo() error {
	if t.device {
		return t.wipe()
	}
	return t.Truncate(0)
}

func sizeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "size", Usage: "`SIZE` of the new metadata"},
		&cli.Uint64Flag{Name: "blocks", Usage: "size of the new metadata as a `NUMBER` of 4K blocks"},
	}
}

// askedBlocks returns the number of metadata blocks from --size or --blocks, 0 for neither.
func askedBlocks(c *command.Call) (uint64, error) {
	size, err := c.SizeFlag("size")
	if err != nil {
		return 0, err
	}
	blocks := uint64(size / metadata.BlockSize)
	switch {
	case c.Flags.IsSet("size") && c.Flags.IsSet("blocks"):
		return 0, c.Misuse("--size and --blocks set the same value: use one of them")
	case c.Flags.IsSet("blocks"):
		blocks = c.Flags.Uint64("blocks")
	case !c.Flags.IsSet("size"):
		return 0, nil
	}
	if blocks == 0 || blocks > metadata.MaxBlocks {
		return 0, c.Misuse("%d metadata blocks: the number must be from 1 to %d (%s)", blocks, uint64(metadata.MaxBlocks),
			times(metadata.MaxBlocks, metadata.BlockSize))
	}
	return blocks, nil
}
