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

// Unpacked returns the path of a program, unpacking its package where there is none.
func Unpacked(ctx context.Context, program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	path, err := unpacked(ctx, program, pkg)
	if err != nil {
		return "", fmt.Errorf("%s, which tests need, is not on PATH and cannot be had from Debian's package %s: %w", program, pkg, err)
	}
	return path, nil
}

func unpacked(ctx context.Context, program, pkg string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "thinctl-debian")
	if err := os.MkdirAll(cache, 0o755); err != nil {
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

// unpack lays a package into root, which appears whole or not at all.
func unpack(ctx context.Context, cache, pkg, root string) error {
	dir, err := os.MkdirTemp(cache, pkg+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := run(ctx, dir, "apt-get", "-q", "download", pkg); err != nil {
		return fmt.Errorf("%w (apt-get update may help)", err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages", pkg, len(debs))
	}
	if err := run(ctx, dir, "dpkg-deb", "-x", debs[0], "root"); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "root"), root)
}

// Installed returns the path of a program, installing its package where there is none.
func Installed(ctx context.Context, program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	install := []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "install", "-y", "--no-install-recommends", pkg}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%s, which tests need, is missing: run: sudo %s", program, strings.Join(install[2:], " "))
	}
	if err := run(ctx, "", install[0], install[1:]...); err != nil {
		return "", fmt.Errorf("installing %s, which tests need (apt-get update may help): %w", program, err)
	}
	return exec.LookPath(program)
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// lock keeps test binaries that run at the same time from unpacking twice.
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
