package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cache is the directory outside the tree that holds what takes long to make. An entry is
// named by a digest of its recipe, so a changed recipe makes a new one.
type cache struct {
	dir string
}

func openCache(dir string) (cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return cache{}, fmt.Errorf("making the lab's cache (THINCTL_LAB_CACHE names another place): %w", err)
	}
	return cache{dir}, nil
}

func digest(recipe ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(recipe, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// entry returns the directory name-digest. If it does not exist, build makes it under
// another name and it is renamed, so a directory that exists is whole.
func (c cache) entry(ctx context.Context, name string, recipe []string, build func(dir string) error) (string, error) {
	path := filepath.Join(c.dir, name+"-"+digest(recipe...))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unlock, err := c.lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	aside := path + ".making"
	if err := os.RemoveAll(aside); err != nil {
		return "", err
	}
	if err := os.Mkdir(aside, 0o755); err != nil {
		return "", err
	}
	if err := build(aside); err != nil {
		os.RemoveAll(aside)
		return "", err
	}
	if err := os.Rename(aside, path); err != nil {
		return "", fmt.Errorf("storing %s in the lab's cache: %w", name, err)
	}
	c.dropOthers(name, path)
	return path, nil
}

// dropOthers removes the entries of older recipes. A run that still uses one keeps its open
// files; it reports kernel modules that are missing.
func (c cache) dropOthers(name, keep string) {
	old, _ := filepath.Glob(filepath.Join(c.dir, name+"-*"))
	for _, path := range old {
		if path != keep {
			os.RemoveAll(path)
		}
	}
}

// lock keeps concurrent runs from making the same entry twice.
func (c cache) lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a lock of the lab's cache: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another run, which holds %s: %w", f.Name(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
