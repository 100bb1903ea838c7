package filesystem

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"thinctl/blockdev"
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
	mounts, err := readMounts(f, s.device)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	var points []string
	for _, m := range mounts {
		points = append(points, m.Path)
	}
	s.mounts[seen] = points
	return points, nil
}

// files adds the files on the device that the process has open.
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
	case isBlock && rdev == s.device:
		p.Device = true
	case at == s.device && !slices.Contains(p.Files, name):
		p.Files = append(p.Files, name)
	}
	return nil
}

// numbers returns the device that a file is on, and the device that it is. It uses
// cached attributes of files on a network, as the server may not respond.
func numbers(path string) (at, is blockdev.Number, isBlock bool, err error) {
	var x unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &x)
	if err == nil {
		at = blockdev.Number{Major: x.Dev_major, Minor: x.Dev_minor}
		is = blockdev.Number{Major: x.Rdev_major, Minor: x.Rdev_minor}
		return at, is, x.Mode&unix.S_IFMT == unix.S_IFBLK, nil
	}
	var st unix.Stat_t
	if errors.Is(err, unix.ENOSYS) { // before 4.11
		err = unix.Stat(path, &st)
	}
	return blockdev.NumberOf(uint64(st.Dev)), blockdev.NumberOf(uint64(st.Rdev)), st.Mode&unix.S_IFMT == unix.S_IFBLK, err
}

// command returns the name of the process. It leaves out the arguments, which may
// contain secrets.
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
