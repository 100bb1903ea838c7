// Package newfile creates files that appear under their name only when they are complete.
package newfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"thinctl/fault"
	"thinctl/internal/disk"
)

// File is a file that gets its name when it is complete.
type File struct {
	*os.File
	path  string
	force bool
	named bool
}

// Create creates a file with mode 0600. It refuses a path that exists, unless force is set and
// it is a regular file, which Commit replaces.
func Create(path string, force bool) (*File, error) {
	if err := freePath(path, force); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".thinctl-*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &File{File: file, path: path, force: force}, nil
}

// freePath refuses a path that exists, before any work is done.
func freePath(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("create %s: %w", path, err)
	case !info.Mode().IsRegular():
		return exists(path, "not a regular file")
	case !force:
		return exists(path, "")
	}
	return nil
}

func exists(path, detail string) error {
	return &fault.Error{Op: "create", Object: path, Kind: fault.Exists, Detail: detail, Remedy: "choose another name"}
}

// Commit syncs the file and gives it its name.
func (f *File) Commit() error {
	err := f.Sync()
	if err == nil && f.force {
		if err = os.Rename(f.Name(), f.path); err == nil {
			err = disk.SyncDir(filepath.Dir(f.path))
		}
	} else if err == nil {
		err = disk.Rename(f.Name(), f.path)
	}
	if errors.Is(err, fs.ErrExist) { // it was created in the meantime
		return freePath(f.path, false)
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", f.path, err)
	}
	f.named = true
	return nil
}

// Close closes the file, and removes it if it was not committed.
func (f *File) Close() error {
	err := f.File.Close()
	if !f.named {
		err = errors.Join(err, disk.Remove(f.Name()))
	}
	return err
}
