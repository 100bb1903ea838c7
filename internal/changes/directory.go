package changes

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// dir is a directory of one or both trees, and holds the changes in it after it was
// read. It keeps its name instead of its path: in a tree of thousands of levels the
// paths would fill the memory.
type dir struct {
	parent *dir
	depth  int
	name   string
	in     [sides]bool // the trees in which it is a directory
	kind   Kind        // of the directory itself; 0 if it has not changed
	info   Info
	only   Names // the entries that may differ; nil if all may

	pending atomic.Int64 // subdirectories to be read, and itself

	mu    sync.Mutex
	found []found
}

// found is a change in a directory. below is set for a subdirectory that has changed,
// or has changes in it.
type found struct {
	name  string
	kind  Kind
	info  Info
	below *dir
}

// appendPath appends the path of d from the directory base above it: "/a/b", and
// nothing for base itself. Without base it is the path from the root.
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

// above returns the directory above d at a depth. The depth of the root is 0.
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

// done counts d, or the last of its subdirectories, as read, passes its changes to the
// directory above, and reports whether the whole tree has been read.
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

// visit calls a function for all changes found, in the order of the paths' bytes.
func (d *dir) visit(ctx context.Context, visit func(Change) error) error {
	v := &visitor{ctx: ctx, visit: visit}
	return v.dir(d)
}

type visitor struct {
	ctx   context.Context
	visit func(Change) error
	path  []byte // of the current directory
}

func (v *visitor) dir(d *dir) error {
	// The changes in /a come after /a-b, because '-' comes before '/'. A directory
	// waits until a name comes that is greater than its own with a slash. The name of
	// each waiting directory begins with that of the one before, so that the last one
	// is always visited first.
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

// beyond reports whether name comes after everything in a directory.
func beyond(name, directory string) bool {
	rest, begins := strings.CutPrefix(name, directory)
	return !begins || rest[0] > '/'
}

func (v *visitor) below(d *dir) error {
	length := len(v.path)
	v.path = append(append(v.path, '/'), d.name...)
	err := v.dir(d)
	v.path = v.path[:length]
	return err
}
