package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// Allocate gives an open file real blocks from its start to size on the host's
// file system, and makes it that long where it is shorter. What it holds stays.
func Allocate(file *os.File, size units.Bytes) error {
	for {
		err := unix.Fallocate(int(file.Fd()), 0, 0, int64(size))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("allocating %s of %s: %w", size, file.Name(), err)
		}
		return nil
	}
}

// Allocated returns the bytes that an open file really takes.
func Allocated(file *os.File) (units.Bytes, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return 0, fmt.Errorf("size of %s: %w", file.Name(), err)
	}
	// st_blocks counts 512-byte units whatever the file system's block is (stat(2)).
	return units.Sectors(st.Blocks).Bytes(), nil
}
