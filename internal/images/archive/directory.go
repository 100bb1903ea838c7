package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"thinctl/internal/images/manifest"
)

// directoryTree is an archive that was unpacked into a directory. os.Root keeps names from
// leading out of it.
type directoryTree struct{ root *os.Root }

func openDirectory(path string) (tree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return directoryTree{root}, nil
}

func (t directoryTree) has(name string) bool {
	_, err := t.root.Stat(name)
	return err == nil
}

func (t directoryTree) empty() bool {
	entries, err := fs.ReadDir(t.root.FS(), ".")
	return err == nil && len(entries) == 0
}

func (t directoryTree) explainMissing(e *Error) error { return e }

func (t directoryTree) file(name string) (file, error) {
	at, err := cleaned(name)
	if err != nil {
		return file{}, err
	}
	info, err := t.root.Stat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return file{}, &Error{
			Part: at, Kind: manifest.ErrMissing, Detail: "the directory has no such file",
			Remedy: "copy the image again",
		}
	case err != nil:
		return file{}, manifest.In("", "", at, err)
	case !info.Mode().IsRegular():
		return file{}, &Error{Part: at, Kind: manifest.ErrFormat, Detail: "not a regular file"}
	}
	open := func() (io.ReadCloser, error) {
		// The file may have been replaced by a pipe, for which open would wait.
		return t.root.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	return file{name: at, size: info.Size(), open: open}, nil
}

func (t directoryTree) Close() error { return t.root.Close() }
