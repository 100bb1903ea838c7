package changes

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// listing is the contents of a directory, as getdents64 wrote them. It is reused for
// the next directory.
type listing struct {
	raw     []byte
	entries []entry
}

// entry is one name. Its bytes are in the listing, followed by a NUL.
type entry struct {
	inode    uint64
	name     int // the offset of the first byte
	length   int
	fileType uint8 // unix.DT_*; of a mount point, the type of the entry below the mount
}

func (l *listing) reset() { l.raw, l.entries = l.raw[:0], l.entries[:0] }

func (l *listing) name(e *entry) []byte { return l.raw[e.name : e.name+e.length] }

// terminated returns the name for system calls.
func (l *listing) terminated(e *entry) *byte { return &l.raw[e.name] }

func (l *listing) read(ctx context.Context, fd int) error {
	const chunk = 32 << 10
	l.reset()
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		l.raw = slices.Grow(l.raw, chunk)
		n, err := retry(func() (int, error) {
			return unix.Getdents(fd, l.raw[len(l.raw):cap(l.raw)])
		})
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		l.raw = l.raw[:len(l.raw)+n]
	}
	l.parse()
	return nil
}

// parse reads the entries: struct linux_dirent64 of include/linux/dirent.h.
func (l *listing) parse() {
	const inode, length, fileType, name = 0, 16, 18, 19
	for at := 0; at < len(l.raw); {
		record := l.raw[at:]
		record = record[:binary.NativeEndian.Uint16(record[length:])]
		e := entry{
			inode:    binary.NativeEndian.Uint64(record[inode:]),
			fileType: record[fileType],
			name:     at + name,
			length:   bytes.IndexByte(record[name:], 0),
		}
		at += len(record)
		if s := l.name(&e); string(s) != "." && string(s) != ".." {
			l.entries = append(l.entries, e)
		}
	}
}

// set fills the listing with names that may be in a directory.
func (l *listing) set(names Names) {
	l.reset()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		l.entries = append(l.entries, entry{name: len(l.raw), length: len(name)})
		l.raw = append(append(l.raw, name...), 0)
	}
}

func (l *listing) sort() {
	slices.SortFunc(l.entries, func(a, b entry) int { return bytes.Compare(l.name(&a), l.name(&b)) })
}

// pair is a name in one or both directories.
type pair struct {
	inode uint64
	at    [sides]*entry
}

// pairs matches the names of both directories. It returns them in the order of inodes,
// in which a disk reads them fastest.
func pairs(into []pair, lower, upper *listing) []pair {
	into = into[:0]
	if bytes.Equal(lower.raw, upper.raw) { // the usual case: the same names
		for i := range upper.entries {
			into = append(into, pair{upper.entries[i].inode, [sides]*entry{&lower.entries[i], &upper.entries[i]}})
		}
	} else {
		into = merge(into, lower, upper)
	}
	slices.SortFunc(into, func(a, b pair) int {
		switch {
		case a.inode < b.inode:
			return -1
		case a.inode > b.inode:
			return 1
		}
		return 0
	})
	return into
}

func merge(into []pair, lower, upper *listing) []pair {
	lower.sort()
	upper.sort()
	a, b := lower.entries, upper.entries
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(b) == 0:
			order = -1
		case len(a) == 0:
			order = 1
		default:
			order = bytes.Compare(lower.name(&a[0]), upper.name(&b[0]))
		}
		var p pair
		if order <= 0 {
			p.inode, p.at[inLower] = a[0].inode, &a[0]
			a = a[1:]
		}
		if order >= 0 {
			p.inode, p.at[inUpper] = b[0].inode, &b[0]
			b = b[1:]
		}
		into = append(into, p)
	}
	return into
}
