package filesystem

import (
	"context"
	"time"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// UnmountOptions are the options of Unmount.
type UnmountOptions struct {
	// Lazy detaches the target at once. The device is free when the last file on it is
	// closed.
	Lazy bool
}

// Unmount unmounts the file system at target. It retries for a short time if the
// target is in use; [Holders] returns the processes that use it.
func Unmount(ctx context.Context, target string, o UnmountOptions) error {
	return in("unmount", target, unmount(ctx, target, o))
}

func unmount(ctx context.Context, target string, o UnmountOptions) error {
	if err := checkPath(target); err != nil {
		return err
	}
	ctx, cancel := bound(ctx, flushBound)
	defer cancel()
	patience, stop := context.WithTimeout(ctx, busyBound)
	defer stop()
	flags := unix.UMOUNT_NOFOLLOW
	if o.Lazy {
		flags |= unix.MNT_DETACH
	}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		err := call(ctx, func() error { return unix.Unmount(target, flags) }, nil)
		switch {
		case errno.Is(err, unix.EBUSY):
		case errno.Is(err, unix.EINVAL, unix.ENOENT):
			return &Error{Kind: ErrNotMounted, Err: err}
		default:
			return err
		}
		if contexts.Sleep(patience, wait) != nil {
			return &Error{Kind: fault.Busy, Err: err,
				Detail: "files on it are open, or another file system is mounted below; stop the processes that use it"}
		}
	}
}
