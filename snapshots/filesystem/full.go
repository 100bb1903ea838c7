package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// failWhenFull makes an xfs fail at once if a write of its metadata finds no space
// in a thin pool. By default xfs retries forever, and cannot be unmounted in the
// meantime. Kernels before 4.7 do not have this setting
// (Documentation/admin-guide/xfs.rst, "Error handling").
func failWhenFull(sys, device string) error {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return fmt.Errorf("stat the device: %w", err)
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	name, err := os.Readlink(filepath.Join(sys, "dev/block", number))
	if err != nil {
		return err
	}
	setting := filepath.Join(sys, "fs/xfs", filepath.Base(name), "error/metadata/ENOSPC/max_retries")
	f, err := os.OpenFile(setting, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("0")
	return errors.Join(err, f.Close())
}
