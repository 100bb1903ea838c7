package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thinctl/tests/lab/boot"
)

// disks makes the run's disks and returns QEMU's arguments for them, and the names of files
// that only this run uses. Once QEMU has opened these files they can be unlinked: they then
// vanish with QEMU, even if the lab is killed.
func (c Config) disks(ctx context.Context, dir, image string) (args, throwAway []string, err error) {
	scratch := c.KeepScratch
	if scratch == "" {
		scratch = filepath.Join(dir, "scratch.img")
		throwAway = append(throwAway, scratch)
	}
	if err := makeScratch(ctx, scratch, c.Scratch); err != nil {
		return nil, nil, err
	}
	args = diskArgs(boot.SerialScratch, boot.SerialScratch, scratch, false)
	for i, d := range c.Disks {
		id := fmt.Sprintf("disk%d", i)
		path := d.File
		if path == "" {
			path = filepath.Join(dir, id+".img")
			throwAway = append(throwAway, path)
			if err := sparseFile(path, d.Size); err != nil {
				return nil, nil, err
			}
		} else if _, err := os.Stat(path); err != nil {
			return nil, nil, fmt.Errorf("disk %d: %w", i, err)
		}
		args = append(args, diskArgs(id, d.serial(id), path, false)...)
	}
	if image != "" {
		args = append(args, diskArgs(boot.SerialRoot, boot.SerialRoot, image, true)...)
	}
	return args, throwAway, nil
}

func (c Config) keepsDisks() bool {
	for _, d := range c.Disks {
		if d.File != "" {
			return true
		}
	}
	return c.KeepScratch != ""
}

// makeScratch formats a scratch disk unless it exists.
func makeScratch(ctx context.Context, path string, size int64) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	aside := path + ".making" // a run that is killed must not leave half a disk
	if err := sparseFile(aside, size); err != nil {
		return err
	}
	// It holds few large files: with few inodes, mkfs is quicker.
	if _, err := output(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-i", "65536", "-L", "scratch", aside); err != nil {
		os.Remove(aside)
		return fmt.Errorf("formatting the scratch disk %s: %w", path, err)
	}
	return os.Rename(aside, path)
}

func sparseFile(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making a disk: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("making a disk of %d bytes: %w", size, err)
	}
	return nil
}

// serial returns the disk's serial, "" for none.
func (d Disk) serial(otherwise string) string {
	switch {
	case d.NoSerial:
		return ""
	case d.Serial != "":
		return d.Serial
	}
	return otherwise
}
