package changes

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// dir is a folder of either or both trees: first one to be read, then the
// place of the changes below it. Paths are kept as names only: in a tree
// thousands of levels deep the paths themselves would fill the memory.
type dir struct {
	parent *dir
	depth  int
	name   string
	in     [sides]bool // where it is a folder
	kind   Kind        // of the folder itself; 0 while it has not changed
	info   Info

	pending atomic.Int64 // subfolders to be read, and itself

	mu    sync.Mutex
	found []found
}

// found is a change in a folder; of a subfolder that has changed, or something
// in it, below is set.
type found struct {
	name  string
	kind  Kind
	info  Info
	below *dir
}

// appendPath appends the path of d from the folder base above it: "/a/b", and
// nothing for base itself. No base means the root.
func (d *dir) appendPath(path []byte, base *dir) []byte {
	var names []string
	for ; d.parent != nil && d != base; d = d.parent {
		names = append(names, d.name)
	}
	for _, name := range slices.Backward(names) {
		path = append(path, '/')
		path = append(path, name...)
	}
	return path
}

func (d *dir) path() string { return string(d.appendPath(nil, nil)) }

// above is the folder above d at a depth; the root's is 0.
func (d *dir) above(depth int) *dir {
	for d.depth > depth {
		d = d.parent
	}
	return d
}

func (d *dir) add(f found) {
	d.mu.Lock()
	d.found = append(d.found, f)
	d.mu.Unlock()
}

// done counts d, or the last of its subfolders, as read, hands what changed to
// the folder above, and tells whether that was the whole tree.
func (d *dir) done() bool {
	for d.pending.Add(-1) == 0 {
		slices.SortFunc(d.found, func(a, b found) int { return strings.Compare(a.name, b.name) })
		if d.kind == 0 && len(d.found) > 0 {
			d.kind = Modified
		}
		if d.parent == nil {
			return true
		}
		if d.kind != 0 {
			d.parent.add(found{name: d.name, kind: d.kind, info: d.info, below: d})
		}
		d = d.parent
	}
	return false
}

// visit tells all that was found, in the order of the paths' bytes.
func (d *dir) visit(ctx context.Context, visit func(Change) error) error {
	v := &visitor{ctx: ctx, visit: visit}
	return v.dir(d)
}

type visitor struct {
	ctx   context.Context
	visit func(Change) error
	path  []byte // of the folder that is being told
}

func (v *visitor) dir(d *dir) error {
	// What is in /a is told after /a-b, because '-' comes before '/'. A folder
	// waits until a name follows that is beyond its own with a slash. Those that
	// wait begin with each other's names: the last is always the first to go.
	var waiting []*dir
	for _, f := range d.found {
		for n := len(waiting); n > 0 && beyond(f.name, waiting[n-1].name); n-- {
			if err := v.below(waiting[n-1]); err != nil {
				return err
			}
			waiting = waiting[:n-1]
		}
		if err := context.Cause(v.ctx); err != nil {
			return err
		}
		v.path = append(append(v.path, '/'), f.name...)
		change := Change{Kind: f.kind, Path: string(v.path), Info: f.info}
		v.path = v.path[:len(v.path)-1-len(f.name)]
		if err := v.visit(change); err != nil {
			return err
		}
		if f.below != nil && len(f.below.found) > 0 {
			waiting = append(waiting, f.below)
		}
	}
	for _, sub := range slices.Backward(waiting) {
		if err := v.below(sub); err != nil {
			return err
		}
	}
	return nil
}

// beyond tells whether name comes after everything in the folder of that name.
func beyond(name, folder string) bool {
	rest, begins := strings.CutPrefix(name, folder)
	return !begins || rest[0] > '/'
}

func (v *visitor) below(d *dir) error {
	length := len(v.path)
	v.path = append(append(v.path, '/'), d.name...)
	err := v.dir(d)
	v.path = v.path[:length]
	return err
}
