package changes

import (
	"io/fs"
	"time"

	"thinctl/units"
)

// Kind is what happened to a path, as the letter that docker diff prints.
type Kind byte

const (
	Modified Kind = 'C'
	Added    Kind = 'A'
	Deleted  Kind = 'D'
)

func (k Kind) String() string { return string(rune(k)) }

// Change is one path that differs.
type Change struct {
	Kind Kind
	Path string // from the root of the trees: /etc/hosts; any bytes but NUL
	Info        // of the upper tree's entry; of the lower's where it was deleted
}

// Info describes an entry. Of a mount point only Mode's type is known.
type Info struct {
	Mode     fs.FileMode
	UID, GID uint32
	Size     units.Bytes
	ModTime  time.Time
	Inode    uint64
	Links    uint32
	Device   uint64 // of a device node
}

// IsDir tells whether the entry is a folder, or for a deletion was one.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// String is the change as docker diff prints it: "A /etc/hosts".
func (c Change) String() string { return string(c.Kind) + " " + c.Path }

// Total adds up changes. Its zero value is empty.
type Total struct {
	Added, Modified, Deleted int
	// Size is what Docker calls a layer's or a container's size: the sizes of
	// all that was added or modified but folders, each inode once.
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
