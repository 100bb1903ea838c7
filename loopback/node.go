package loopback

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"thinctl/blockdev"

	"golang.org/x/sys/unix"
)

const loopMajor = 7

func (c *Control) openControl() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dev, "loop-control"), os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) && c.dev != "/dev" {
		f, err = os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &Error{Kind: kindOf(err), Err: err, Detail: "loop devices need root and the loop module"}
	}
	return f, nil
}

// free asks for a device that nothing is attached to; the kernel makes one if
// there is none. It reserves nothing: others get the same answer.
func free(control *os.File) (int, error) {
	index, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return 0, &Error{Kind: ErrExhausted, Err: err, Detail: exhaustedAdvice}
	}
	return index, nil
}

const exhaustedAdvice = "detach unused ones (losetup -l, losetup -d) or raise the loop module's max_loop"

// node returns the path of a loop device's node in dir, making the device or
// the node if they are missing, as they are in a container with a /dev of its
// own. devtmpfs has the node before the kernel answers (drivers/base/devtmpfs.c);
// if udev is to make it and comes later, it finds ours and sets its mode.
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
		return fmt.Errorf("adding loop%d: %w", index, err)
	}
	return nil
}

func (c *Control) makeNode(path string, index int) error {
	n := c.number(index)
	dev := int(unix.Mkdev(n.Major, n.Minor))
	switch err := unix.Mknod(path, unix.S_IFBLK|0o600, dev); {
	case errors.Is(err, unix.EEXIST):
	case err != nil:
		return &Error{Kind: kindOf(err), Err: err, Detail: "making " + path}
	default:
		if err := os.Chmod(path, 0o600); err != nil {
			return fmt.Errorf("setting the mode of %s: %w", path, err)
		}
	}
	return c.checkNode(path, index)
}

// checkNode refuses a node that would lead to another device than its name says.
func (c *Control) checkNode(path string, index int) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	want := c.number(index)
	got := blockdev.NumberOf(uint64(st.Rdev))
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || got != want {
		return &Error{Kind: ErrNotLoop, Detail: fmt.Sprintf("%s is not block device %s; remove it", path, want)}
	}
	return nil
}

// number is asked of sysfs: with the max_part parameter the minor of loopN is
// not N (drivers/block/loop.c, part_shift).
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

// indexOf reads the N of .../loopN.
func indexOf(path string) (int, error) {
	digits, ok := strings.CutPrefix(filepath.Base(path), "loop")
	index, err := strconv.Atoi(digits)
	if !ok || err != nil || index < 0 || strconv.Itoa(index) != digits {
		return 0, &Error{Kind: ErrNotLoop, Detail: "its name is not loopN"}
	}
	return index, nil
}
