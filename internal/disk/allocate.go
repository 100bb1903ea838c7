package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// Allocate allocates blocks of the host's file system for an open file, from its start
// to size. A shorter file grows to size. The file's contents stay as they are.
func Allocate(file *os.File, size units.Bytes) error {
	for {
		err := unix.Fallocate(int(file.Fd()), 0, 0, int64(size))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("allocate %s of %s: %w", size, file.Name(), err)
		}
		return nil
	}
}

// Allocated returns the bytes of all blocks that an open file has.
func Allocated(file *os.File) (units.Bytes, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return 0, fmt.Errorf("size of %s: %w", file.Name(), err)
	}
	// st_blocks counts units of 512 bytes, not file system blocks (stat(2)).
	return units.Sectors(st.Blocks).Bytes(), nil
}
