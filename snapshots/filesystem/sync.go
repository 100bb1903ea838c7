package filesystem

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Sync writes out what is pending at target. Since Linux 5.8 it also tells of
// writes that the kernel could not do in the background and nobody has been told
// of yet (fs/sync.c, syncfs).
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
