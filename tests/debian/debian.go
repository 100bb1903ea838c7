package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Unpacked returns the path of a program. If it is not installed, its package is unpacked.
func Unpacked(ctx context.Context, program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	path, err := unpacked(ctx, program, pkg)
	if err != nil {
		return "", fmt.Errorf("%s, which tests need, is not on PATH and cannot be had from Debian's package %s: %w", program,
			pkg, err)
	}
	return path, nil
}

func unpacked(ctx context.Context, program, pkg string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, pkg+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	root := filepath.Join(cache, pkg)
	path := filepath.Join(root, "usr/bin", program)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := unpack(ctx, cache, pkg, root); err != nil {
			return "", err
		}
	}
	_, err = os.Stat(path)
	return path, err
}

// cacheDir returns this package's directory in the user's cache.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "thinctl-debian")
	return cache, os.MkdirAll(cache, 0o755)
}

// unpack unpacks a package into root, which is complete or does not exist.
func unpack(ctx context.Context, cache, pkg, root string) error {
	dir, err := os.MkdirTemp(cache, pkg+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	debs, err := Suite("").Download(ctx, dir, pkg)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0],
		filepath.Join(dir, "root")).CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking %s: %w\n%s", debs[0], err, out)
	}
	return os.Rename(filepath.Join(dir, "root"), root)
}

// Installed returns the path of a program. If it is missing, its package is installed.
func Installed(ctx context.Context, program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	install := []string{"apt-get", "-q", "install", "-y", "--no-install-recommends", pkg}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%s, which tests need, is missing: run: sudo %s", program, strings.Join(install, " "))
	}
	if _, err := Apt(ctx, "", install...); err != nil {
		return "", fmt.Errorf("installing %s, which tests need: %w", program, err)
	}
	return exec.LookPath(program)
}

// lock keeps test binaries that run concurrently from unpacking twice.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}
