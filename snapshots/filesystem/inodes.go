package filesystem

import (
	"encoding/binary"
	"errors"
)

// Inodes returns the number of inodes in use in the file system on a device. If it is
// mounted at target, the number is the kernel's. If target is "", the number is that
// of the superblock, which is out of date while the file system is mounted.
func Inodes(device, target string) (uint64, error) {
	if target != "" {
		if err := isMountOf(device, target); err != nil {
			return 0, in("count the inodes of", target, err)
		}
		return mountedInodes(target)
	}
	f, err := openDevice(device, 0)
	if err != nil {
		return 0, in("count the inodes of", device, err)
	}
	kind, _, err := detect(f)
	var used uint64
	b := make([]byte, 512)
	switch {
	case err != nil:
	case kind == Ext4: // struct ext4_super_block (fs/ext4/ext4.h)
		_, err = f.ReadAt(b, ext4At)
		all, free := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[16:])
		used = uint64(all) - uint64(min(free, all))
	case kind == XFS: // struct xfs_dsb (fs/xfs/libxfs/xfs_format.h)
		_, err = f.ReadAt(b, 0)
		all, free := binary.BigEndian.Uint64(b[128:]), binary.BigEndian.Uint64(b[136:])
		used = all - min(free, all)
	default:
		err = &Error{Kind: ErrNoFilesystem}
	}
	return used, in("count the inodes of", device, errors.Join(err, f.Close()))
}

func mountedInodes(target string) (uint64, error) {
	st, err := statfs(target)
	if err != nil {
		return 0, in("count the inodes of", target, err)
	}
	return st.Files - min(st.Ffree, st.Files), nil
}
