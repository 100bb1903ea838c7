package filesystem

import (
	"context"

	"golang.org/x/sys/unix"
)

// Remount makes the mount at target read-only or read-write.
func Remount(ctx context.Context, target string, readOnly bool) error {
	return in("remount", target, remount(ctx, target, readOnly))
}

func remount(ctx context.Context, target string, readOnly bool) error {
	f, err := openMount(target)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	flags := uintptr(unix.MS_REMOUNT)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	ctx, cancel := bound(ctx, kernelBound)
	defer cancel()
	return call(ctx, func() error { return unix.Mount("", target, "", flags, "") }, nil)
}
