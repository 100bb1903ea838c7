package snapshotstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	cfs "github.com/containerd/continuity/fs"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/dmtest"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

func (f *Files) path(number uint64) string { return filepath.Join(f.dir, fmt.Sprint(number)) }

// number returns the version that a device holds, 0 for none.
func (f *Files) number(dev blockdev.Number) (number uint64, err error) {
	err = f.patiently(func() error {
		number, err = f.kernel.ReadStamp(dev, 0)
		return err
	})
	return number, err
}

// write saves a mounted tree if it has changed.
func (f *Files) write(m *mount) error {
	before := f.versions[m.number]
	if m.readOnly {
		return nil
	}
	now, err := digests(m.target)
	if err != nil {
		return err
	}
	if maps.Equal(now, before.files) && m.size == before.size {
		return nil
	}
	tree, err := os.MkdirTemp(f.dir, "save-")
	if err == nil {
		err = copyTree(m.target, tree)
	}
	if err != nil {
		return err
	}
	m.number, err = f.save(m.dev, m.number, before.kind, m.size, tree)
	return err
}

// save makes a directory the next version, and writes it to a device: first the files that
// have changed since the last version, then the number.
func (f *Files) save(dev blockdev.Number, before uint64, kind filesystem.Type, size units.Bytes, tree string) (uint64,
	error) {
	files, err := digests(tree)
	if err != nil {
		return before, err
	}
	number := uint64(len(f.versions) + 1)
	if err := os.Rename(tree, f.path(number)); err != nil {
		return before, err
	}
	f.versions[number] = version{kind: kind, size: size, files: files}
	stamp := func(block uint64) error {
		return f.patiently(func() error { return f.kernel.WriteStamp(dev, block, number) })
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if files[path] != f.versions[before].files[path] {
			if err := stamp(f.place(dev, size, path)); err != nil {
				return before, err
			}
		}
	}
	if err := stamp(0); err != nil {
		return before, err
	}
	return number, nil
}

// place returns the block into which a file is stamped.
func (f *Files) place(dev blockdev.Number, size units.Bytes, path string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(path))
	return 1 + h.Sum64()%(uint64(size/f.kernel.StampBlock(dev))-1)
}

// saveDevice saves the mounted file system of a device, as a freeze does.
func (f *Files) saveDevice(ctx context.Context, ref dm.Ref) error {
	info, err := f.kernel.Info(ctx, ref)
	if errors.Is(err, fault.NotFound) || err == nil && info.Suspended {
		return nil
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.mounts {
		if m.dev == info.Dev {
			if err := f.write(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// powerOff drops all mounts, and all data that were not saved.
func (f *Files) powerOff() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var faults []error
	for target := range f.mounts {
		faults = append(faults, empty(target))
	}
	clear(f.mounts)
	clear(f.others)
	return errors.Join(faults...)
}

// Digest returns the digest of a tree: paths, modes and contents.
func Digest(root string) (string, error) {
	files, err := digests(root)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %s\n", path, files[path])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func digests(root string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		switch {
		case info.Mode().IsRegular():
			content, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var link string
			link, err = os.Readlink(path)
			content = []byte(link)
		}
		rel, fault := filepath.Rel(root, path)
		files[rel] = fmt.Sprintf("%s %x", info.Mode(), sha256.Sum256(content))
		return errors.Join(err, fault)
	})
	return files, err
}

// copyTree copies a tree with all attributes of its files into a directory that exists.
func copyTree(from, to string) error {
	if err := cfs.CopyDir(to, from); err != nil {
		return err
	}
	// CopyDir sets a directory's times before it copies the files into it.
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(filepath.Join(to, rel), time.Time{}, info.ModTime())
	})
}

// empty removes the files of a mount from its mount point.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700)
}

// patiently repeats IO that the kernel would block, for as long as Patience allows.
func (f *Files) patiently(do func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.Patience)
	defer cancel()
	for {
		err := do()
		if !errors.Is(err, dmtest.ErrWouldBlock) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Microsecond):
		}
	}
}
