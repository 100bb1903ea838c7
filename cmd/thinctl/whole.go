package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thinctl/disk"
	"thinctl/thinpool"
)

// freePath refuses a path where something is, before work is done for it.
func freePath(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return failed(thinpool.ErrExists, "%s is there and is no regular file: give another name", path)
	case !force:
		return failed(thinpool.ErrExists, "%s is there already: give another name, or --force to overwrite it", path)
	}
	return nil
}

// writeWhole makes the file all at once: it is there as a whole, durably, or
// not at all. Without force nothing is overwritten that came meanwhile.
func writeWhole(path string, content []byte, force bool) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if gone := os.Remove(file.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		if force {
			err = os.Rename(file.Name(), path)
		} else {
			err = os.Link(file.Name(), path)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return freePath(path, force)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return disk.SyncDir(filepath.Dir(path))
}
