package loopback

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/units"
)

func status(f *os.File) (*unix.LoopInfo64, error) {
	return unix.IoctlLoopGetStatus64(int(f.Fd()))
}

func setStatus(f *os.File, st *unix.LoopInfo64) error {
	return unix.IoctlLoopSetStatus64(int(f.Fd()), st)
}

func configure(f *os.File, c *unix.LoopConfig) error {
	return unix.IoctlLoopConfigure(int(f.Fd()), c)
}

// canConfigure reports whether the kernel has LOOP_CONFIGURE. Kernels before 5.8
// return EINVAL for every call. Newer kernels also do so for a wrong configuration,
// but check the file descriptor first (drivers/block/loop.c, loop_configure).
func canConfigure(f *os.File) bool {
	return errors.Is(configure(f, &unix.LoopConfig{Fd: ^uint32(0)}), unix.EBADF)
}

func clearFd(f *os.File) error     { return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0) }
func setCapacity(f *os.File) error { return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0) }
func setDirectIO(f *os.File) error { return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_DIRECT_IO, 1) }

func setSectorSize(f *os.File, size units.Bytes) error {
	return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_BLOCK_SIZE, int(size))
}

func sectorSize(f *os.File) (units.Bytes, error) {
	v, err := unix.IoctlGetUint32(int(f.Fd()), unix.BLKSSZGET)
	return units.Bytes(v), err
}

func identity(st *unix.LoopInfo64) FileID { return FileID{Device: st.Device, Inode: st.Inode} }

func statID(st *unix.Stat_t) FileID { return FileID{Device: uint64(st.Dev), Inode: st.Ino} }

func fstatID(f *os.File) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return FileID{}, err
	}
	return statID(&st), nil
}
