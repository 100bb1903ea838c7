package archive

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"thinctl/internal/images/manifest"
)

// folderTree is an archive unpacked into a folder, which nothing is looked up
// outside of: os.Root sees to it.
type folderTree struct{ root *os.Root }

func openFolder(path string) (tree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return folderTree{root}, nil
}

func (t folderTree) has(name string) bool {
	_, err := t.root.Stat(name)
	return err == nil
}

func (t folderTree) empty() bool {
	entries, err := fs.ReadDir(t.root.FS(), ".")
	return err == nil && len(entries) == 0
}

func (t folderTree) doubt(e *Error) error { return e }

func (t folderTree) file(name string) (file, error) {
	at, err := cleaned(name)
	if err != nil {
		return file{}, err
	}
	info, err := t.root.Stat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return file{}, &Error{Part: at, Kind: manifest.ErrMissing, Detail: "the folder has no such file", Remedy: "copy the image again"}
	case err != nil:
		return file{}, manifest.In("", "", at, err)
	case !info.Mode().IsRegular():
		return file{}, &Error{Part: at, Kind: manifest.ErrFormat, Detail: "this is not a regular file"}
	}
	open := func() (io.ReadCloser, error) {
		// A pipe put there meanwhile must not be waited for.
		return t.root.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	return file{name: at, size: info.Size(), open: open}, nil
}

func (t folderTree) Close() error { return t.root.Close() }
