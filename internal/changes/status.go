package changes

import (
	"io/fs"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

// statFlags do not follow symbolic links and do not trigger automounts.
const statFlags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT

// status is the state of an entry.
type status struct {
	exists   bool
	mount    bool   // it is a mount point
	fileType uint16 // unix.S_IF*; of a mount point, the type of the entry below the mount
	unix.Statx_t
}

// stat reads the state of e on side s. An entry that was removed does not exist.
func (w *worker) stat(s int, e *entry, into *status) error {
	err := statx(w.fd[s], w.listings[s].terminated(e), &into.Statx_t)
	if err != nil {
		if vanished(err) {
			return nil
		}
		return err
	}
	into.exists = true
	into.fileType = into.Mode & unix.S_IFMT
	// Only the attribute reveals a bind mount from the same device.
	if deviceOf(&into.Statx_t) != w.trees[s].device || into.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		into.mount = true
		if e.fileType != unix.DT_UNKNOWN {
			into.fileType = uint16(e.fileType) << 12 // include/linux/fs_types.h
		}
	}
	return nil
}

// statx calls statx(2) like unix.Statx, without a copy of each name.
func statx(at int, name *byte, into *unix.Statx_t) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(at), uintptr(unsafe.Pointer(name)),
			statFlags, unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(into)), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

type inode struct {
	device device
	number uint64
}

func (st *status) inode() inode { return inode{deviceOf(&st.Statx_t), st.Ino} }

func (st *status) isDir() bool { return st.fileType == unix.S_IFDIR }

func (st *status) info() Info {
	if st.mount {
		return Info{Mode: fileMode(st.fileType)}
	}
	return infoOf(&st.Statx_t)
}

func infoOf(st *unix.Statx_t) Info {
	return Info{
		Mode:    fileMode(st.Mode),
		UID:     st.Uid,
		GID:     st.Gid,
		Size:    units.Bytes(st.Size),
		ModTime: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)),
		Inode:   st.Ino,
		Links:   st.Nlink,
		Device:  unix.Mkdev(st.Rdev_major, st.Rdev_minor),
	}
}

func fileMode(mode uint16) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	if mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
