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

// newFile is a file that gets its name once all of it is there.
type newFile struct {
	*os.File
	path  string
	named bool
}

// createFile begins a file, 0600. Whatever has the name is refused.
func createFile(path string) (*newFile, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, taken(path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".thinctl-*")
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", path, err)
	}
	return &newFile{File: file, path: path}, nil
}

func taken(path string) error {
	return failed(thinpool.ErrExists, "%s exists already: give a name that is free", path)
}

// commit brings the file to disk and gives it its name.
func (f *newFile) commit() error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("bringing %s to disk: %w", f.path, err)
	}
	if err := disk.Rename(f.Name(), f.path); errors.Is(err, fs.ErrExist) {
		return taken(f.path)
	} else if err != nil {
		return err
	}
	f.named = true
	return nil
}

// Close closes the file, and removes it where it has no name yet.
func (f *newFile) Close() error {
	err := f.File.Close()
	if !f.named {
		err = errors.Join(err, disk.Remove(f.Name()))
	}
	return err
}
