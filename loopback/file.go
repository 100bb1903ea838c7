package loopback

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

// FileOptions changes how a file is created or grown. The zero value is for a sparse
// file with mode 0600.
type FileOptions struct {
	// Mode is the permissions of a new file, independent of the umask; default 0600.
	// Grow ignores it.
	Mode os.FileMode

	// Preallocate reserves the blocks on the host file system, so that no later write
	// fails because the host is full.
	Preallocate bool
}

// CreateSparse creates a file of exactly that size. When it returns, the file and
// its name are on disk. If the file exists already, it returns os.ErrExist. After a
// failure it removes the file.
func CreateSparse(path string, size units.Bytes, o FileOptions) error {
	return withOp("create", path, createSparse(path, size, o))
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

// Grow makes a file larger. When it returns, the new size is on disk; Refresh then
// updates the loop device. A smaller size is fault.Invalid. After a failure the file
// has its old size. With Preallocate it reserves the blocks of the added range.
func Grow(path string, size units.Bytes, o FileOptions) error {
	return withOp("grow", path, grow(path, size, o))
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
		return &Error{Kind: fault.Invalid,
			Detail: fmt.Sprintf("new size of %d bytes is smaller than the file, which has %d", size, old)}
	}
	if o.Preallocate && size > old {
		// Allocate the blocks beyond the end first: then the size changes only if that
		// succeeds. Truncating the file to its present size frees the blocks.
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

// allocate reserves blocks without changing the file's size.
func allocate(f *os.File, off, length units.Bytes) error {
	return fallocate(f, unix.FALLOC_FL_KEEP_SIZE, off, length)
}

// fallocate repeats the call after EINTR: the Go runtime's preemption signals
// interrupt it.
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
		return &Error{Kind: fault.Invalid, Detail: fmt.Sprintf("%d bytes exceed the largest size of a file", uint64(size))}
	}
	return nil
}

// syncDir makes a new name durable. File systems that cannot sync a directory return
// EINVAL (fsync(2)) and have nothing to sync.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return ignore(dir.Sync(), unix.EINVAL)
}
