package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/internal/disk"
)

func TestMakeDirWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o277, 0o777} {
		path := filepath.Join(t.TempDir(), "pool")
		old := unix.Umask(umask)
		err := disk.MakeDir(path)
		unix.Umask(old)
		if err != nil {
			t.Errorf("umask %o: got %v, want nil", umask, err)
			continue
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("umask %o: got mode %v, %v, want 0700", umask, info.Mode(), err)
		}
		if err := disk.MakeDir(path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("make it again: got %v, want %v", err, fs.ErrExist)
		}
	}
	if err := disk.MakeDir(filepath.Join(t.TempDir(), "no", "parent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent: got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"file", "other"} {
		if err := os.WriteFile(at(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"directory", "empty", "deep"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", at("link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"file", "other"}, {"directory", "empty"}, {"file", "link"}, {"directory", "file"}} {
		if err := disk.Rename(at(c[0]), at(c[1])); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s to %s: got %v, want %v", c[0], c[1], err, fs.ErrExist)
		}
	}
	if got, err := os.ReadFile(at("other")); err != nil || string(got) != "other" {
		t.Errorf("the file in the way: got %q, %v, want %q", got, err, "other")
	}
	if err := disk.Rename(at("none"), at("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: got %v, want %v", err, fs.ErrNotExist)
	}
	for _, c := range [][2]string{{"file", "new"}, {"directory", "deep/directory"}} {
		if err := disk.Rename(at(c[0]), at(c[1])); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(at(c[0])); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s after the rename: got %v, want %v", c[0], err, fs.ErrNotExist)
		}
		if _, err := os.Lstat(at(c[1])); err != nil {
			t.Error(err)
		}
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remove(full); err == nil {
		t.Error("remove a directory that is not empty: got nil, want an error")
	}
	for _, name := range []string{"full/in", "full", "full", "none"} {
		if err := disk.Remove(filepath.Join(dir, name)); err != nil {
			t.Errorf("remove %s: got %v, want nil", name, err)
		}
	}
}
