package changes

import "golang.org/x/sys/unix"

// anchors keeps every so many levels a folder of a tree open, of those that a
// worker went through last: from the root alone, a tree of many thousand levels
// would take time with the square of its depth.
type anchors [8]anchor

type anchor struct {
	dir *dir
	fd  int
}

// apart is how many levels are between two anchors.
const apart = 64

// open opens d in t.
func (a *anchors) open(t *tree, d *dir, flags int) (int, error) {
	base, path := d, ""
	if d.parent != nil {
		base = d.above((d.depth - 1) / apart * apart)
		path = string(d.appendPath(nil, base))
	}
	from, err := a.at(t, base)
	if err != nil {
		return -1, err
	}
	return t.open(from, path, flags)
}

// at returns the descriptor of an anchor, which stays the anchors' own.
func (a *anchors) at(t *tree, d *dir) (int, error) {
	if d.parent == nil {
		return t.root, nil
	}
	slot := &a[d.depth/apart%len(a)]
	if slot.dir == d {
		return slot.fd, nil
	}
	fd, err := a.open(t, d, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	slot.close()
	*slot = anchor{d, fd}
	return fd, nil
}

func (a *anchor) close() {
	if a.dir != nil {
		unix.Close(a.fd)
		a.dir = nil
	}
}

func (a *anchors) close() {
	for i := range a {
		a[i].close()
	}
}
