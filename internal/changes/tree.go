package changes

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is one of the two trees. Its folders are opened by their paths, not one
// through the other: none stays open for those below it.
type tree struct {
	path    string
	root    int
	device  device
	careful bool // the kernel has no openat2 (Linux 5.6): one name at a time
}

type device struct{ major, minor uint32 }

const folder = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// errCovered: something was mounted over the folder.
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

// probe finds out what the system can do.
func (t *tree) probe() error {
	var st unix.Statx_t
	if err := unix.Statx(t.root, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		e := failed("stat", t.path, err)
		if errors.Is(err, unix.ENOSYS) {
			e = &Error{Op: "stat", Object: t.path, Kind: ErrUnsupported, Err: err, Detail: "statx needs Linux 4.11 or newer"}
		}
		return e
	}
	t.device = deviceOf(&st)
	proc := descriptorPath(t.root)
	if err := unix.Access(proc, unix.F_OK); err != nil {
		return &Error{Op: "look at", Object: proc, Kind: ErrUnsupported, Err: err, Detail: "capabilities are read by way of /proc; mount it"}
	}
	fd, err := t.openat2(t.root, ".", unix.O_PATH)
	switch {
	case err == nil:
		unix.Close(fd)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // some sandboxes answer EPERM
		t.careful = true
	default:
		return failed("open", t.path, err)
	}
	return nil
}

func deviceOf(st *unix.Statx_t) device { return device{st.Dev_major, st.Dev_minor} }

func descriptorPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// open opens the folder at path ("" or "/a/b") below the folder from: with
// unix.O_PATH to lead on to others, with unix.O_RDONLY to be read.
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

// step is the part of path that one call can follow.
func (t *tree) step(path string) string {
	const most = unix.PathMax - 1
	switch {
	case t.careful:
		name, _, _ := strings.Cut(path, "/")
		return name
	case len(path) <= most:
		return path
	default:
		return path[:strings.LastIndexByte(path[:most+1], '/')]
	}
}

// openLast leaves no access time behind: a container's own volume is not
// written to because someone asked what changed.
func (t *tree) openLast(at int, path string, flags int) (int, error) {
	if flags&unix.O_PATH == 0 {
		fd, err := t.openStep(at, path, flags|unix.O_NOATIME)
		if !errors.Is(err, unix.EPERM) { // not the owner's
			return fd, err
		}
	}
	return t.openStep(at, path, flags)
}

func (t *tree) openStep(at int, path string, flags int) (int, error) {
	if !t.careful {
		fd, err := t.openat2(at, path, flags)
		if errors.Is(err, unix.EXDEV) {
			return -1, errCovered
		}
		return fd, err
	}
	fd, err := retry(func() (int, error) { return unix.Openat(at, path, flags|folder, 0) })
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
			Flags:   uint64(flags | folder),
			Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
		})
	})
}

// retry repeats a call that a signal cut short.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err == nil || !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
