package changes

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// scratch is a pair of reused buffers for attributes and content.
type scratch [sides][]byte

// differ reports whether an entry of both trees has changed.
func (w *worker) differ(lower, upper *status, p *pair) (bool, error) {
	if w.options.SameOrigin && untouched(&lower.Statx_t, &upper.Statx_t) {
		return false, nil
	}
	if dockerDiffers(&lower.Statx_t, &upper.Statx_t) {
		return true, nil
	}
	if w.options.Exact {
		return w.exactlyDiffers(upper, p)
	}
	return w.attributeDiffers(p, capability)
}

// untouched reports whether two inodes of one origin are equal. Each change of an
// inode, its attributes or its content sets its change time.
func untouched(a, b *unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Ctime == b.Ctime && a.Mtime == b.Mtime &&
		a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Size == b.Size &&
		a.Rdev_major == b.Rdev_major && a.Rdev_minor == b.Rdev_minor
}

// dockerDiffers reports a difference like statDifferent of moby's
// pkg/archive/changes_unix.go. It ignores links, blocks, change time and inode number,
// and of directories also size and time.
func dockerDiffers(a, b *unix.Statx_t) bool {
	if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid ||
		a.Rdev_major != b.Rdev_major || a.Rdev_minor != b.Rdev_minor {
		return true
	}
	return a.Mode&unix.S_IFMT != unix.S_IFDIR && (a.Size != b.Size || !sameTime(a.Mtime, b.Mtime))
}

// sameTime reports whether two times are equal, or one was truncated to seconds by a
// tar.
func sameTime(a, b unix.StatxTimestamp) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

// capability is the only attribute that Docker compares.
const capability = "security.capability"

func (w *worker) attributeDiffers(p *pair, attribute string) (bool, error) {
	for s := range p.at {
		if err := w.attribute(s, p, attribute); err != nil {
			return false, err
		}
	}
	return !bytes.Equal(w.scratch[inLower], w.scratch[inUpper]), nil
}

// attribute reads an attribute into the scratch. A missing attribute is empty.
func (w *worker) attribute(s int, p *pair, attribute string) error {
	return w.fill(s, func(b []byte) (int, error) {
		return unix.Lgetxattr(w.procPath(s, p), attribute, b)
	})
}

// procPath returns the path of an entry by the descriptor of its directory. Before
// getxattrat (Linux 6.13) all other ways open the entry, which has effects for a device
// or a pipe.
func (w *worker) procPath(s int, p *pair) string {
	return fmt.Sprintf("%s/%s", descriptorPath(w.fd[s]), w.listings[s].name(p.at[s]))
}

// fill calls call with the scratch of s, and enlarges it as needed.
func (w *worker) fill(s int, call func([]byte) (int, error)) error {
	if w.scratch[s] == nil {
		w.scratch[s] = make([]byte, 256)
	}
	for {
		buf := w.scratch[s][:cap(w.scratch[s])]
		n, err := retry(func() (int, error) { return call(buf) })
		switch {
		case err == nil:
			w.scratch[s] = buf[:n]
			return nil
		case errors.Is(err, unix.ERANGE) && len(buf) < 128<<10: // values and lists have at most 64 KiB
			w.scratch[s] = make([]byte, 2*len(buf))
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP), vanished(err):
			w.scratch[s] = buf[:0]
			return nil
		default:
			return err
		}
	}
}
