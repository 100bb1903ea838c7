package loopback

import (
	"cmp"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/errno"
	"thinctl/units"
)

// FileUsage holds a file's size and the space that it takes on the host.
type FileUsage struct {
	Apparent  units.Bytes // the file's size
	Allocated units.Bytes // the file's blocks, including those beyond its end
}

// Usage returns the size and the allocated blocks of a sparse file.
func Usage(path string) (FileUsage, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return FileUsage{}, withOp("usage", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return FileUsage{}, &Error{Op: "usage", Object: path, Kind: ErrNotRegular}
	}
	// st_blocks counts units of 512 bytes on every file system (stat(2)).
	return FileUsage{Apparent: units.Bytes(st.Size), Allocated: units.Sectors(st.Blocks).Bytes()}, nil
}

// PunchHole frees a range's blocks on the host file system; the range then reads as
// zeros. The file keeps its size. The file system frees whole blocks only, and zeros
// the rest. Discard a range of the device instead if it is in use: a hole in the file
// does not change the device's cache.
func PunchHole(path string, off, length units.Bytes) error {
	return withOp("punch hole in", path, punchHole(path, off, length))
}

func punchHole(path string, off, length units.Bytes) error {
	if length == 0 {
		return nil
	}
	if off > math.MaxInt64 || length > math.MaxInt64-off {
		return &Error{Kind: fault.Invalid, Detail: fmt.Sprintf("a range of %d bytes at %d", uint64(length), uint64(off))}
	}
	b, err := openBacking(path, false)
	if err != nil {
		return err
	}
	defer b.Close()
	return fallocate(b.File, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

// Space holds the size and the free space of a host file system.
type Space struct {
	Total     units.Bytes
	Free      units.Bytes // for root, including the reserved blocks
	Available units.Bytes // for other users
}

// FreeSpace returns the space of the file system that contains path.
func FreeSpace(path string) (Space, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if errno.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Space{}, withOp("statfs", path, err)
		}
		break
	}
	// Block counts are in units of f_frsize (statvfs(3)).
	unit := uint64(cmp.Or(st.Frsize, st.Bsize))
	return Space{
		Total:     units.Bytes(st.Blocks * unit),
		Free:      units.Bytes(st.Bfree * unit),
		Available: units.Bytes(st.Bavail * unit),
	}, nil
}
