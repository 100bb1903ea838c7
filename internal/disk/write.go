package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// WriteFile writes a file, 0600, in the place of one that may be there. Old or
// new, it is always whole; the new one is on disk when WriteFile returns.
func WriteFile(path string, data []byte) error { return WriteFrom(path, bytes.NewReader(data)) }

// WriteFrom is WriteFile of what is read from r.
func WriteFrom(path string, r io.Reader) (err error) {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = io.Copy(file, r)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}
