package changes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// exactlyDiffers looks at what Docker does not, in entries of the same type and
// size.
func (w *worker) exactlyDiffers(upper *status, p *pair) (bool, error) {
	if differ, err := w.attributesDiffer(p); differ || err != nil {
		return differ, err
	}
	switch upper.fileType {
	case unix.S_IFLNK:
		return w.targetDiffers(p)
	case unix.S_IFREG:
		return w.contentDiffers(p)
	}
	return false, nil
}

func (w *worker) attributesDiffer(p *pair) (bool, error) {
	var names [sides][]string
	for s := range p.at {
		err := w.fill(s, func(b []byte) (int, error) { return unix.Llistxattr(w.procPath(s, p), b) })
		if err != nil {
			return false, err
		}
		for name := range bytes.SplitSeq(w.scratch[s], []byte{0}) {
			if len(name) > 0 {
				names[s] = append(names[s], string(name))
			}
		}
		slices.Sort(names[s]) // file systems list them in any order
	}
	if !slices.Equal(names[inLower], names[inUpper]) {
		return true, nil
	}
	for _, name := range names[inUpper] {
		if differ, err := w.attributeDiffers(p, name); differ || err != nil {
			return differ, err
		}
	}
	return false, nil
}

func (w *worker) targetDiffers(p *pair) (bool, error) {
	for s := range p.at {
		err := w.fill(s, func(b []byte) (int, error) {
			n, err := unix.Readlinkat(w.fd[s], string(w.listings[s].name(p.at[s])), b)
			if err == nil && n == len(b) { // it may have been cut
				return 0, unix.ERANGE
			}
			return n, err
		})
		if err != nil && !errors.Is(err, unix.EINVAL) { // no longer a link
			return false, err
		}
	}
	return !bytes.Equal(w.scratch[inLower], w.scratch[inUpper]), nil
}

// contentDiffers takes a file that has vanished as unlike any other.
func (w *worker) contentDiffers(p *pair) (bool, error) {
	var files [sides]*os.File
	for s := range p.at {
		fd, err := w.openContent(s, p)
		if vanished(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		files[s] = os.NewFile(uintptr(fd), "")
		defer files[s].Close()
	}
	const chunk = 64 << 10
	for s := range w.scratch {
		w.scratch[s] = slices.Grow(w.scratch[s][:0], chunk)
	}
	for {
		var n [sides]int
		for s, f := range files {
			var err error
			n[s], err = io.ReadFull(f, w.scratch[s][:chunk])
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if !bytes.Equal(w.scratch[inLower][:n[inLower]], w.scratch[inUpper][:n[inUpper]]) {
			return true, nil
		}
		if n[inLower] < chunk {
			return false, nil
		}
	}
}

// openContent does not wait for the writer of a pipe that took a file's place.
func (w *worker) openContent(s int, p *pair) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	name := string(w.listings[s].name(p.at[s]))
	fd, err := retry(func() (int, error) { return unix.Openat(w.fd[s], name, flags|unix.O_NOATIME, 0) })
	if errors.Is(err, unix.EPERM) {
		fd, err = retry(func() (int, error) { return unix.Openat(w.fd[s], name, flags, 0) })
	}
	return fd, err
}
