package changes

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// scratch is room for attributes and content, used again and again.
type scratch [sides][]byte

// differ tells whether an entry of both trees has changed.
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

// untouched tells whether two inodes of one origin are the same still. Whatever
// changes an inode, its attributes or its content sets its change time.
func untouched(a, b *unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Ctime == b.Ctime && a.Mtime == b.Mtime &&
		a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid && a.Size == b.Size &&
		a.Rdev_major == b.Rdev_major && a.Rdev_minor == b.Rdev_minor
}

// dockerDiffers is statDifferent of moby's pkg/archive/changes_unix.go: links,
// blocks, change time and inode number do not count, and of folders neither
// size nor time.
func dockerDiffers(a, b *unix.Statx_t) bool {
	if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid ||
		a.Rdev_major != b.Rdev_major || a.Rdev_minor != b.Rdev_minor {
		return true
	}
	return a.Mode&unix.S_IFMT != unix.S_IFDIR && (a.Size != b.Size || !sameTime(a.Mtime, b.Mtime))
}

// sameTime takes a time that a tar cut to whole seconds as the same.
func sameTime(a, b unix.StatxTimestamp) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

// capability is the one attribute that Docker looks at.
const capability = "security.capability"

func (w *worker) attributeDiffers(p *pair, attribute string) (bool, error) {
	for s := range p.at {
		if err := w.attribute(s, p, attribute); err != nil {
			return false, err
		}
	}
	return !bytes.Equal(w.scratch[inLower], w.scratch[inUpper]), nil
}

// attribute reads an attribute into the scratch; what is not there is empty.
func (w *worker) attribute(s int, p *pair, attribute string) error {
	return w.fill(s, func(b []byte) (int, error) {
		return unix.Lgetxattr(w.procPath(s, p), attribute, b)
	})
}

// procPath leads to an entry by its folder's descriptor: before getxattrat
// (Linux 6.13) there is no other way that does not open the entry, which for a
// device or a pipe does something.
func (w *worker) procPath(s int, p *pair) string {
	return fmt.Sprintf("%s/%s", descriptorPath(w.fd[s]), w.listings[s].name(p.at[s]))
}

// fill makes the scratch of s as large as call asks for.
func (w *worker) fill(s int, call func([]byte) (int, error)) error {
	if w.scratch[s] == nil {
		w.scratch[s] = make([]byte, 256)
	}
	for {
		room := w.scratch[s][:cap(w.scratch[s])]
		n, err := retry(func() (int, error) { return call(room) })
		switch {
		case err == nil:
			w.scratch[s] = room[:n]
			return nil
		case errors.Is(err, unix.ERANGE) && len(room) < 128<<10: // values and lists end at 64 KiB
			w.scratch[s] = make([]byte, 2*len(room))
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP), vanished(err):
			w.scratch[s] = room[:0]
			return nil
		default:
			return err
		}
	}
}
