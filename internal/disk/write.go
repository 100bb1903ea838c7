package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// WriteFile replaces or creates a file of mode 0600. After a crash the path has either
// the old contents or all of the new ones. The new ones are durable when WriteFile
// returns.
func WriteFile(path string, data []byte) error { return WriteFrom(path, bytes.NewReader(data)) }

// WriteFrom does the same as WriteFile with the data that it reads from r.
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
