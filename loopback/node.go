package loopback

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
)

const loopMajor = 7

func (c *Control) openControl() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dev, "loop-control"), os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) && c.dev != "/dev" {
		f, err = os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &Error{Kind: kindOf(err), Err: err, Detail: "loop devices require root and the loop module"}
	}
	return f, nil
}

// free returns the index of a free device. The kernel adds a device if none is free.
// It does not reserve the device: other processes get the same index.
func free(control *os.File) (int, error) {
	index, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return 0, &Error{Kind: ErrExhausted, Err: err, Detail: maxLoopDetail}
	}
	return index, nil
}

const maxLoopDetail = "the module parameter max_loop limits the number of loop devices"

// node returns the path of a loop device's node in dir. It creates the device and the
// node if they are missing, as they are in a container with its own /dev. devtmpfs
// creates the node before the ioctl returns (drivers/base/devtmpfs.c). If udev creates
// nodes, it finds this one later and sets its mode.
func (c *Control) node(dir string, index int) (string, error) {
	path := filepath.Join(dir, "loop"+strconv.Itoa(index))
	err := c.checkNode(path, index)
	if !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	if err := c.addDevice(index); err != nil {
		return "", err
	}
	return path, c.makeNode(path, index)
}

func (c *Control) addDevice(index int) error {
	if _, err := os.Stat(c.sysfs(index)); err == nil {
		return nil
	}
	control, err := c.openControl()
	if err != nil {
		return err
	}
	defer control.Close()
	err = unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_ADD, index)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add loop%d: %w", index, err)
	}
	return nil
}

func (c *Control) makeNode(path string, index int) error {
	n := c.number(index)
	dev := int(unix.Mkdev(n.Major, n.Minor))
	switch err := unix.Mknod(path, unix.S_IFBLK|0o600, dev); {
	case errors.Is(err, unix.EEXIST):
	case err != nil:
		return &Error{Kind: kindOf(err), Err: err, Detail: "create node " + path}
	default:
		if err := os.Chmod(path, 0o600); err != nil { // the umask affects mknod
			return fmt.Errorf("set mode of %s: %w", path, err)
		}
	}
	return c.checkNode(path, index)
}

// checkNode returns an error if the node at path is not that of the loop device index.
func (c *Control) checkNode(path string, index int) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	want := c.number(index)
	got := blockdev.NumberOf(uint64(st.Rdev))
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || got != want {
		return &Error{Kind: ErrNotLoop, Detail: fmt.Sprintf("%s is not block device %s", path, want),
			Remedy: "remove that node"}
	}
	return nil
}

// number reads the device number from sysfs: with the module parameter max_part, the
// minor of loopN is not N (drivers/block/loop.c, part_shift).
func (c *Control) number(index int) blockdev.Number {
	text, err := os.ReadFile(filepath.Join(c.sysfs(index), "dev"))
	if err == nil {
		if n, err := blockdev.ParseNumber(strings.TrimSpace(string(text))); err == nil {
			return n
		}
	}
	return blockdev.Number{Major: loopMajor, Minor: uint32(index)}
}

func (c *Control) sysfs(index int) string {
	return filepath.Join(c.sys, "block", "loop"+strconv.Itoa(index))
}

// indexOf returns the N of a path .../loopN.
func indexOf(path string) (int, error) {
	digits, ok := strings.CutPrefix(filepath.Base(path), "loop")
	index, err := strconv.Atoi(digits)
	if !ok || err != nil || index < 0 || strconv.Itoa(index) != digits {
		return 0, &Error{Kind: ErrNotLoop, Detail: "the name is not loopN"}
	}
	return index, nil
}
