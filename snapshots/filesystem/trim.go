package filesystem

import (
	"context"
	"math"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
	"thinctl/units"
)

// fiTrim is _IOWR('X', 121, struct fstrim_range), encoded as in freeze.go.
const fiTrim = 0xc0185879

// trimPart is the size that is trimmed between two checks of the context. Only the
// end of the process interrupts the ioctl itself.
const trimPart = 64 * units.GiB

// trimRange is struct fstrim_range of include/uapi/linux/fs.h.
type trimRange struct{ start, length, least uint64 }

// Trim discards the free space of the file system at target, so that the pool gets
// its blocks back. It returns the size that the kernel reports. ext4 leaves out what it
// has trimmed since it was mounted. xfs of Linux 6.18 returns the size of the range,
// however much of it is free. The blocks of files that were just removed may not be
// free yet: xfs frees them in the background.
func Trim(ctx context.Context, target string) (units.Bytes, error) {
	n, err := trim(ctx, target, trimPart)
	return n, in("trim", target, err)
}

func trim(ctx context.Context, target string, part units.Bytes) (units.Bytes, error) {
	ctx, cancel := bound(ctx, trimBound)
	defer cancel()
	var total units.Bytes
	for start := units.Bytes(0); ; start += part {
		var freed units.Bytes
		var last bool
		err := call(ctx, func() (err error) {
			freed, last, err = trimFrom(target, start, part)
			return err
		}, nil)
		if errno.Is(err, unix.EOPNOTSUPP, unix.ENOTTY) {
			err = &Error{Kind: fault.Unsupported, Err: err, Detail: "the device or the file system does not accept discards"}
		}
		if err != nil {
			return total, err
		}
		total += freed
		if last {
			return total, nil
		}
	}
}

// trimFrom trims one part. The last one has no end, as the size that statfs returns
// does not include the blocks for the file system's own use.
func trimFrom(target string, start, part units.Bytes) (freed units.Bytes, last bool, err error) {
	f, err := openMount(target)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, false, err
	}
	r := trimRange{start: uint64(start), length: uint64(part)}
	if last = start+part >= units.Bytes(st.Blocks)*units.Bytes(st.Bsize); last {
		r.length = math.MaxUint64 - r.start
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiTrim, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(f)
	if errno != 0 {
		return 0, false, errno
	}
	return units.Bytes(r.length), last, nil
}
