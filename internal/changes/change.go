package changes

import (
	"io/fs"
	"time"

	"thinctl/units"
)

// Kind is the kind of a change, as the letter that docker diff prints.
type Kind byte

// The kinds of changes.
const (
	Modified Kind = 'C'
	Added    Kind = 'A'
	Deleted  Kind = 'D'
)

func (k Kind) String() string { return string(rune(k)) }

// Change is a path that differs.
type Change struct {
	Kind Kind
	Path string // from the root of the trees: /etc/hosts; any bytes but NUL
	Info        // of the upper tree's entry, or of the lower's if it was deleted
}

// Info describes an entry. Of a mount point it has only the type in Mode.
type Info struct {
	Mode     fs.FileMode
	UID, GID uint32
	Size     units.Bytes
	ModTime  time.Time
	Inode    uint64
	Links    uint32
	Device   uint64 // of a device node
}

// IsDir reports whether the entry is a directory, or was one if it was deleted.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// String returns the change as docker diff prints it: "A /etc/hosts".
func (c Change) String() string { return string(c.Kind) + " " + c.Path }

// Total is a sum of changes. Its zero value is empty.
type Total struct {
	Added, Modified, Deleted int
	// Size is the size of a layer or container as Docker counts it: the sizes of all
	// added and modified entries except directories, each inode once.
	Size units.Bytes

	linked map[uint64]struct{}
}

// Add counts c.
func (t *Total) Add(c Change) {
	switch c.Kind {
	case Deleted:
		t.Deleted++
		return
	case Added:
		t.Added++
	case Modified:
		t.Modified++
	}
	if c.IsDir() {
		return
	}
	if c.Links > 1 {
		if _, counted := t.linked[c.Inode]; counted {
			return
		}
		if t.linked == nil {
			t.linked = make(map[uint64]struct{})
		}
		t.linked[c.Inode] = struct{}{}
	}
	t.Size += c.Size
}
