package changes

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// exactlyDiffers compares the properties that Docker ignores, of entries of the same
// type and size.
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
			if err == nil && n == len(b) { // it may have been truncated
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

// contentDiffers reports a difference if a file has been removed.
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
	sparse, err := bothSparse(files)
	if err != nil {
		return false, err
	}
	for offset := int64(0); ; offset += chunk {
		if sparse {
			if offset, err = nextData(files, offset); err != nil {
				return false, err
			}
		}
		var n [sides]int
		for s, f := range files {
			n[s], err = f.ReadAt(w.scratch[s][:chunk], offset)
			if err != nil && !errors.Is(err, io.EOF) {
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

// bothSparse reports whether both files have holes.
func bothSparse(files [sides]*os.File) (bool, error) {
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return false, err
		}
		if st.Blocks*512 >= st.Size {
			return false, nil
		}
	}
	return true, nil
}

// nextData skips holes that both files have, so that the time for a sparse file
// depends on its data. If no data are left it returns the offset of the last byte of
// the shorter file, where files of different sizes differ.
func nextData(files [sides]*os.File, offset int64) (int64, error) {
	next, end := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, f := range files {
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return 0, err
		}
		end = min(end, size-1)
		data, err := f.Seek(offset, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only a hole is left
		case errors.Is(err, unix.EINVAL): // the file system does not support it
			return offset, nil
		case err != nil:
			return 0, err
		default:
			next = min(next, data)
		}
	}
	return max(offset, min(next, end)), nil
}

// openContent opens a file. O_NONBLOCK keeps it from waiting for the writer of a pipe
// that has replaced the file.
func (w *worker) openContent(s int, p *pair) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	name := string(w.listings[s].name(p.at[s]))
	fd, err := retry(func() (int, error) { return unix.Openat(w.fd[s], name, flags|unix.O_NOATIME, 0) })
	if errors.Is(err, unix.EPERM) {
		fd, err = retry(func() (int, error) { return unix.Openat(w.fd[s], name, flags, 0) })
	}
	return fd, err
}
