package changes

import "golang.org/x/sys/unix"

// openedDirs keeps some directories open that a worker went through last: one in every
// levelsApart levels. Opened from the root alone, the directories of a tree would take
// time with the square of its depth.
type openedDirs [8]openedDir

type openedDir struct {
	dir *dir
	fd  int
}

// levelsApart is the number of levels between two open directories.
const levelsApart = 64

// open opens d in t.
func (o *openedDirs) open(t *tree, d *dir, flags int) (int, error) {
	base, path := d, ""
	if d.parent != nil {
		base = d.above((d.depth - 1) / levelsApart * levelsApart)
		path = string(d.appendPath(nil, base))
	}
	from, err := o.at(t, base)
	if err != nil {
		return -1, err
	}
	return t.open(from, path, flags)
}

// at returns a descriptor of d, which remains open. The caller must not close it.
func (o *openedDirs) at(t *tree, d *dir) (int, error) {
	if d.parent == nil {
		return t.root, nil
	}
	slot := &o[d.depth/levelsApart%len(o)]
	if slot.dir == d {
		return slot.fd, nil
	}
	fd, err := o.open(t, d, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	slot.close()
	*slot = openedDir{d, fd}
	return fd, nil
}

func (o *openedDir) close() {
	if o.dir != nil {
		unix.Close(o.fd)
		o.dir = nil
	}
}

func (o *openedDirs) close() {
	for i := range o {
		o[i].close()
	}
}
