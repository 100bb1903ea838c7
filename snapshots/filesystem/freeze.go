package filesystem

import (
	"context"
	"errors"

	"thinctl/fault"
	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// include/uapi/linux/fs.h: _IOWR('X', 119 and 120, int), as encoded on amd64,
// arm64, riscv64, s390x and loong64 (asm-generic/ioctl.h).
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// Freeze writes pending data of the file system at target to the device and blocks
// all writers until [Thaw]. A freeze that succeeds after ctx has ended is undone.
func Freeze(ctx context.Context, target string) error {
	ctx, cancel := bound(ctx, flushBound)
	defer cancel()
	err := call(ctx, func() error { return onMount(target, fiFreeze) }, func() { _ = onMount(target, fiThaw) })
	switch {
	case errno.Is(err, unix.EBUSY):
		err = &Error{Kind: fault.Refused, Err: err, Detail: "the file system is frozen already; thaw it first"}
	case errno.Is(err, unix.EOPNOTSUPP, unix.ENOTTY):
		err = &Error{Kind: fault.Unsupported, Err: err}
	}
	return in("freeze", target, err)
}

// Thaw ends a [Freeze]: writers continue.
func Thaw(target string) error {
	ctx, cancel := context.WithTimeout(context.Background(), thawBound)
	defer cancel()
	err := call(ctx, func() error { return onMount(target, fiThaw) }, nil)
	if errno.Is(err, unix.EINVAL) {
		err = &Error{Kind: fault.Refused, Err: err, Detail: "the file system is not frozen"}
	}
	return in("thaw", target, err)
}

func onMount(target string, request uint) error {
	f, err := openMount(target)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetInt(int(f.Fd()), request, 0), f.Close())
}
