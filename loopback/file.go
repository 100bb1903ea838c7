package loopback

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// FileOptions say how a file is made or grown. The zero value is sparse, 0600.
type FileOptions struct {
	// Mode is the new file's permissions, whatever the umask: 0600. Grow has no
	// use for it.
	Mode os.FileMode

	// Preallocate reserves the blocks on the host file system, so that a full
	// host cannot fail a write later.
	Preallocate bool
}

// CreateSparse makes a file of exactly that size, which is on disk, with its
// name, when it returns. A file that exists is refused (os.ErrExist); on failure
// nothing is left behind.
func CreateSparse(path string, size units.Bytes, o FileOptions) error {
	return inOp("create", path, createSparse(path, size, o))
}

func createSparse(path string, size units.Bytes, o FileOptions) error {
	if err := checkSize(size); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = fill(f, size, o)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func fill(f *os.File, size units.Bytes, o FileOptions) error {
	if err := f.Chmod(cmp.Or(o.Mode, 0o600)); err != nil {
		return err
	}
	if o.Preallocate && size > 0 {
		if err := allocate(f, 0, size); err != nil {
			return err
		}
	}
	if err := f.Truncate(int64(size)); err != nil {
		return err
	}
	return f.Sync()
}

// Grow makes a file larger, on disk when it returns; the loop device on it has
// to be told with Refresh. It refuses to shrink (ErrShrink), and leaves the size
// alone where it fails. With Preallocate the added range gets its blocks.
func Grow(path string, size units.Bytes, o FileOptions) error {
	return inOp("grow", path, grow(path, size, o))
}

func grow(path string, size units.Bytes, o FileOptions) error {
	if err := checkSize(size); err != nil {
		return err
	}
	b, err := openBacking(path, false)
	if err != nil {
		return err
	}
	defer b.Close()
	st, err := b.Stat()
	if err != nil {
		return err
	}
	old := units.Bytes(st.Size())
	if size < old {
		return &Error{Kind: ErrShrink, Detail: fmt.Sprintf("it has %d bytes, %d were asked for", old, size)}
	}
	if o.Preallocate && size > old {
		// Allocated beyond the end first: the size changes only once that has
		// worked, and truncating to the same size gives the blocks back.
		if err := allocate(b.File, old, size-old); err != nil {
			return errors.Join(err, b.Truncate(int64(old)))
		}
	}
	if size > old {
		if err := b.Truncate(int64(size)); err != nil {
			return errors.Join(err, b.Truncate(int64(old)))
		}
	}
	return b.Sync()
}

// allocate reserves blocks without changing the file's size. The Go runtime's
// preemption signals interrupt it, hence the EINTR.
func allocate(f *os.File, off, length units.Bytes) error {
	return fallocate(f, unix.FALLOC_FL_KEEP_SIZE, off, length)
}

func fallocate(f *os.File, mode uint32, off, length units.Bytes) error {
	for {
		err := unix.Fallocate(int(f.Fd()), mode, int64(off), int64(length))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("fallocate", err)
		}
		return nil
	}
}

func checkSize(size units.Bytes) error {
	if size > math.MaxInt64 {
		return &Error{Kind: ErrInvalid, Detail: fmt.Sprintf("%d bytes are more than a file can have", uint64(size))}
	}
	return nil
}

// syncDir makes a new name last. File systems that cannot sync a folder answer
// EINVAL (fsync(2)) and have nothing to sync.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return ignore(dir.Sync(), unix.EINVAL)
}
