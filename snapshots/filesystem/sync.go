package filesystem

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Sync writes pending data of the file system at target to the device. Since Linux
// 5.8 it also returns the errors of background writes that have not been reported yet
// (fs/sync.c, syncfs).
func Sync(ctx context.Context, target string) error {
	ctx, cancel := bound(ctx, flushBound)
	defer cancel()
	return in("sync", target, call(ctx, func() error {
		f, err := openMount(target)
		if err != nil {
			return err
		}
		return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
	}, nil))
}
