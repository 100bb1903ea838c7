package changes

import (
	"errors"
	"fmt"
	"strings"

	"thinctl/fault"

	"golang.org/x/sys/unix"
)

// tree is one of the two trees. Its directories are opened by their paths, so that
// none must stay open for the directories below it.
type tree struct {
	path     string
	root     int
	device   device
	stepwise bool // open one name at a time, as the kernel has no openat2 (Linux 5.6)
}

type device struct{ major, minor uint32 }

const directoryFlags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// errCovered is returned if a file system was mounted over the directory.
var errCovered = errors.New("a mount point")

func openTree(path string) (*tree, error) {
	root, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, failed("open", path, err)
	}
	t := &tree{path: path, root: root}
	if err := t.probe(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() { unix.Close(t.root) }

// probe checks the functions of the system.
func (t *tree) probe() error {
	var st unix.Statx_t
	if err := unix.Statx(t.root, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		e := failed("stat", t.path, err)
		if errors.Is(err, unix.ENOSYS) {
			e = &Error{Op: "stat", Object: t.path, Kind: fault.Unsupported, Err: err,
				Detail: "statx needs Linux 4.11 or newer"}
		}
		return e
	}
	t.device = deviceOf(&st)
	proc := descriptorPath(t.root)
	if err := unix.Access(proc, unix.F_OK); err != nil {
		return &Error{Op: "access", Object: proc, Kind: fault.Unsupported, Err: err,
			Detail: "capabilities are read through /proc; mount it"}
	}
	fd, err := t.openat2(t.root, ".", unix.O_PATH)
	switch {
	case err == nil:
		unix.Close(fd)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // some sandboxes return EPERM
		t.stepwise = true
	default:
		return failed("open", t.path, err)
	}
	return nil
}

func deviceOf(st *unix.Statx_t) device { return device{st.Dev_major, st.Dev_minor} }

func descriptorPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// open opens the directory at path ("" or "/a/b") below the directory from: with
// unix.O_PATH to open others from it, with unix.O_RDONLY to read it.
func (t *tree) open(from int, path string, flags int) (int, error) {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		path = "."
	}
	at := from
	for rest := path; ; {
		step := t.step(rest)
		if step == rest {
			fd, err := t.openLast(at, step, flags)
			if at != from {
				unix.Close(at)
			}
			return fd, err
		}
		next, err := t.openStep(at, step, unix.O_PATH)
		if at != from {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at, rest = next, rest[len(step)+1:]
	}
}

// step returns the part of path that one call can open.
func (t *tree) step(path string) string {
	const longest = unix.PathMax - 1
	switch {
	case t.stepwise:
		name, _, _ := strings.Cut(path, "/")
		return name
	case len(path) <= longest:
		return path
	default:
		return path[:strings.LastIndexByte(path[:longest+1], '/')]
	}
}

// openLast opens the last part of a path without a change of the access time, so that
// a comparison does not write to a container's volume.
func (t *tree) openLast(at int, path string, flags int) (int, error) {
	if flags&unix.O_PATH == 0 {
		fd, err := t.openStep(at, path, flags|unix.O_NOATIME)
		if !errors.Is(err, unix.EPERM) { // of another owner
			return fd, err
		}
	}
	return t.openStep(at, path, flags)
}

func (t *tree) openStep(at int, path string, flags int) (int, error) {
	if !t.stepwise {
		fd, err := t.openat2(at, path, flags)
		if errors.Is(err, unix.EXDEV) {
			return -1, errCovered
		}
		return fd, err
	}
	fd, err := retry(func() (int, error) { return unix.Openat(at, path, flags|directoryFlags, 0) })
	if err != nil {
		return -1, err
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if deviceOf(&st) != t.device {
		unix.Close(fd)
		return -1, errCovered
	}
	return fd, nil
}

func (t *tree) openat2(at int, path string, flags int) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat2(at, path, &unix.OpenHow{
			Flags:   uint64(flags | directoryFlags),
			Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
		})
	})
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err == nil || !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
