package filesystem

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/units"
)

// SetAvailable sets how many bytes statfs(2) reports as available on the ext4 of
// device, which is mounted at target: at most those that are free. The device is not
// written to. The kernel reserves the rest in memory until the file system is
// unmounted (fs/ext4/sysfs.c, reserved_clusters; fs/ext4/super.c, ext4_statfs).
func SetAvailable(device, target string, available units.Bytes) error {
	return in("set the available space of", device+" at "+target, setAvailable("/sys", device, target, available))
}

func setAvailable(sys, device, target string, available units.Bytes) error {
	if err := isMountOf(device, target); err != nil {
		return err
	}
	cluster, err := clusterSize(device)
	if err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return err
	}
	free := units.Bytes(st.Bfree) * units.Bytes(st.Bsize)
	var node unix.Stat_t
	if err := unix.Stat(device, &node); err != nil {
		return err
	}
	number := fmt.Sprintf("%d:%d", unix.Major(node.Rdev), unix.Minor(node.Rdev))
	name, err := os.Readlink(filepath.Join(sys, "dev/block", number))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(sys, "fs/ext4", filepath.Base(name), "reserved_clusters"), os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return &Error{Kind: fault.Unsupported, Err: err, Detail: "this kernel's ext4 has no reserved_clusters"}
	}
	if err != nil {
		return err
	}
	reserved := (free - min(available, free)) / cluster
	_, err = f.WriteString(strconv.FormatUint(uint64(reserved), 10))
	return errors.Join(err, f.Close())
}

// clusterSize returns the unit in which an ext4 allocates space: a block, unless it
// was formatted with bigalloc. s_log_cluster_size is at 28 of the superblock (fs/ext4/ext4.h).
func clusterSize(device string) (units.Bytes, error) {
	f, err := openDevice(device, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, 1024); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if kind, _, err := detectExt4(super); err != nil || kind != Ext4 {
		return 0, errors.Join(&Error{Kind: ErrNoFilesystem, Detail: "the file system is not ext4"}, err)
	}
	log := super[28]
	if log > 20 {
		return 0, &Error{Kind: fault.Damaged, Detail: fmt.Sprintf("the superblock has clusters of 2^%d KiB", log)}
	}
	return units.KiB << log, nil
}

// Total returns the size that statfs(2) reports of the file system mounted at target.
func Total(target string) (units.Bytes, error) {
	f, err := openMount(target)
	if err != nil {
		return 0, in("read the size of", target, err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, in("read the size of", target, err)
	}
	return units.Bytes(st.Blocks) * units.Bytes(st.Bsize), nil
}
