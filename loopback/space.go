package loopback

import (
	"cmp"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"thinctl/internal/errno"
	"thinctl/units"
)

// FileUsage is what a file seems to be and what it takes on the host.
type FileUsage struct {
	Apparent  units.Bytes // its size
	Allocated units.Bytes // its blocks, with those beyond its end
}

// Usage says how much of a sparse file is really there.
func Usage(path string) (FileUsage, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return FileUsage{}, inOp("usage", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return FileUsage{}, &Error{Op: "usage", Object: path, Kind: ErrNotRegular}
	}
	// st_blocks counts 512-byte units whatever the file system's block is (stat(2)).
	return FileUsage{Apparent: units.Bytes(st.Size), Allocated: units.Sectors(st.Blocks).Bytes()}, nil
}

// PunchHole gives a range's blocks back to the host file system; it then reads
// as zeroes. The file keeps its size. Only whole blocks of the file system are
// given back, the rest is zeroed. A device that is in use should be discarded
// instead: what it has cached does not know of the hole.
func PunchHole(path string, off, length units.Bytes) error {
	return inOp("punch", path, punchHole(path, off, length))
}

func punchHole(path string, off, length units.Bytes) error {
	if length == 0 {
		return nil
	}
	if off > math.MaxInt64 || length > math.MaxInt64-off {
		return &Error{Kind: ErrInvalid, Detail: fmt.Sprintf("%d bytes at %d", uint64(length), uint64(off))}
	}
	b, err := openBacking(path, false)
	if err != nil {
		return err
	}
	defer b.Close()
	return fallocate(b.File, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

// Space is the room on a host file system.
type Space struct {
	Total     units.Bytes
	Free      units.Bytes // for root, with the reserve
	Available units.Bytes // for everyone else
}

// FreeSpace asks the file system that holds path.
func FreeSpace(path string) (Space, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if errno.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Space{}, inOp("statfs", path, err)
		}
		break
	}
	// Counted in fragments where a file system has them (statvfs(3)).
	unit := uint64(cmp.Or(st.Frsize, st.Bsize))
	return Space{
		Total:     units.Bytes(st.Blocks * unit),
		Free:      units.Bytes(st.Bfree * unit),
		Available: units.Bytes(st.Bavail * unit),
	}, nil
}
