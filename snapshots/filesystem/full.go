package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// failWhenFull makes an xfs give a write of its metadata up at once that finds
// no space in a thin pool; by default it tries again for ever, and nobody can
// unmount it meanwhile. Kernels before 4.7 have no such knob
// (Documentation/admin-guide/xfs.rst, "Error handling").
func failWhenFull(sys, device string) error {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return fmt.Errorf("looking at the device: %w", err)
	}
	name, err := os.Readlink(filepath.Join(sys, fmt.Sprintf("dev/block/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))))
	if err != nil {
		return err
	}
	knob := filepath.Join(sys, "fs/xfs", filepath.Base(name), "error/metadata/ENOSPC/max_retries")
	f, err := os.OpenFile(knob, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("0")
	return errors.Join(err, f.Close())
}
