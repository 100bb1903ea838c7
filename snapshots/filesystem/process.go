package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// namespace reads the number in a link such as "mnt:[4026531841]".
func namespace(link string) (uint64, error) {
	text, err := os.Readlink(link)
	if err != nil {
		return 0, err
	}
	var n uint64
	if _, err := fmt.Sscanf(text, "mnt:[%d]", &n); err != nil {
		return 0, fmt.Errorf("%s points to %q, not to a mount namespace", link, text)
	}
	return n, nil
}

func (s *scan) mountPoints(dir string, ns uint64) ([]string, error) {
	root, err := os.Readlink(filepath.Join(dir, "root"))
	if err != nil {
		return nil, err
	}
	seen := view{ns, root}
	if points, known := s.mounts[seen]; known {
		return points, nil
	}
	f, err := os.Open(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts, err := readMounts(f, s.major, s.minor)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	var points []string
	for _, m := range mounts {
		points = append(points, m.Path)
	}
	s.mounts[seen] = points
	return points, nil
}

// files notes what the process uses of the device.
func (s *scan) files(dir string, p *Process) error {
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return err
	}
	links := []string{"cwd", "root"}
	for _, fd := range fds {
		links = append(links, filepath.Join("fd", fd.Name()))
	}
	for _, link := range links {
		err := s.file(filepath.Join(dir, link), p)
		if err != nil && !errno.Is(err, unix.ENOENT, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func (s *scan) file(link string, p *Process) error {
	name, err := os.Readlink(link)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(name, "/") { // a pipe, a socket
		return nil
	}
	at, rdev, isBlock, err := numbers(link)
	switch {
	case err != nil:
		return err
	case isBlock && rdev == [2]uint32{s.major, s.minor}:
		p.Device = true
	case at == [2]uint32{s.major, s.minor} && !slices.Contains(p.Files, name):
		p.Files = append(p.Files, name)
	}
	return nil
}

// numbers returns the device that a file lies on, and the one that it is. A
// file on a network is not asked for anew: its server may be gone.
func numbers(path string) (at, is [2]uint32, isBlock bool, err error) {
	var x unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &x)
	if err == nil {
		return [2]uint32{x.Dev_major, x.Dev_minor}, [2]uint32{x.Rdev_major, x.Rdev_minor}, x.Mode&unix.S_IFMT == unix.S_IFBLK, nil
	}
	var st unix.Stat_t
	if errors.Is(err, unix.ENOSYS) { // before 4.11
		err = unix.Stat(path, &st)
	}
	dev, rdev := uint64(st.Dev), uint64(st.Rdev)
	return [2]uint32{unix.Major(dev), unix.Minor(dev)}, [2]uint32{unix.Major(rdev), unix.Minor(rdev)},
		st.Mode&unix.S_IFMT == unix.S_IFBLK, err
}

// command is the process's name; arguments may hold secrets.
func command(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return "?"
	}
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, strings.TrimSpace(string(b)))
}
