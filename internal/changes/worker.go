package changes

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// worker compares one directory after another.
type worker struct {
	*walk
	prefix   string // of the paths in the current directory, for Exclude
	fd       [sides]int
	opened   [sides]openedDirs
	listings [sides]listing
	pairs    []pair
	subdirs  []*dir
	scratch  scratch
}

func (w *worker) close() {
	for s := range w.opened {
		w.opened[s].close()
	}
}

// compare reads d on both sides, adds the changes in it, and puts its subdirectories
// into the queue.
func (w *worker) compare(ctx context.Context, d *dir) error {
	w.subdirs = w.subdirs[:0]
	if w.options.Exclude != nil {
		w.prefix = d.path() + "/"
	}
	w.fd = [sides]int{-1, -1}
	defer func() {
		for _, fd := range w.fd {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}()
	for s := range w.listings {
		w.listings[s].reset()
		if !d.in[s] {
			continue
		}
		err := w.list(ctx, d, s)
		switch {
		case err == nil:
		case errors.Is(err, errCovered):
			return nil
		case vanished(err) && d.parent != nil:
			if gone, err := w.gone(d, s); gone || err != nil {
				return err
			}
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		default:
			return failed("read", w.trees[s].path+d.path(), err)
		}
	}
	w.pairs = pairs(w.pairs, &w.listings[inLower], &w.listings[inUpper])
	const checkEvery = 256 // entries between two checks of the context
	for i := range w.pairs {
		if i%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.entry(d, &w.pairs[i]); err != nil {
			return err
		}
	}
	d.pending.Add(int64(len(w.subdirs)))
	w.queue.push(w.subdirs...)
	return nil
}

func (w *worker) list(ctx context.Context, d *dir, s int) error {
	fd, err := w.opened[s].open(w.trees[s], d, unix.O_RDONLY)
	if err != nil {
		return err
	}
	w.fd[s] = fd
	if d.only != nil {
		w.listings[s].set(d.only)
		return nil
	}
	return w.listings[s].read(ctx, fd)
}

// gone updates d after its directory on one side was removed during the walk, as if it
// had not existed. It reports whether nothing is left to compare.
func (w *worker) gone(d *dir, s int) (bool, error) {
	d.in[s] = false
	w.listings[s].reset()
	if s == inLower {
		d.kind, d.only = Added, nil
		return false, nil
	}
	if d.kind == Added {
		d.kind = 0
		return true, nil
	}
	// The entry of the lower tree is a deletion now. Its state was not kept.
	var st unix.Statx_t
	d.kind, d.info = Deleted, Info{}
	if w.fd[inLower] < 0 { // it was not a directory
		return true, w.lowerInfo(d)
	}
	err := unix.Statx(w.fd[inLower], "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st)
	if err != nil {
		return true, failed("stat", w.trees[inLower].path+d.path(), err)
	}
	d.info = infoOf(&st)
	return true, nil
}

func (w *worker) lowerInfo(d *dir) error {
	at, err := w.opened[inLower].open(w.trees[inLower], d.parent, unix.O_RDONLY)
	if err == nil {
		defer unix.Close(at)
		var st unix.Statx_t
		if err = unix.Statx(at, d.name, statFlags, unix.STATX_BASIC_STATS, &st); err == nil {
			d.info = infoOf(&st)
			return nil
		}
	}
	if vanished(err) || errors.Is(err, errCovered) {
		d.kind = 0
		return nil
	}
	return failed("stat", w.trees[inLower].path+d.path(), err)
}

// entry compares the entries of one name.
func (w *worker) entry(d *dir, p *pair) error {
	name := w.name(p)
	if w.options.Exclude != nil && w.options.Exclude(w.prefix+string(name)) {
		return nil
	}
	var seen [sides]status
	for s, e := range p.at {
		if e == nil {
			continue
		}
		if err := w.stat(s, e, &seen[s]); err != nil {
			return failed("stat", w.trees[s].path+d.path()+"/"+string(name), err)
		}
	}
	lower, upper := &seen[inLower], &seen[inUpper]
	var kind Kind
	switch {
	case !lower.exists && !upper.exists:
		return nil
	case !upper.exists:
		d.add(found{name: string(name), kind: Deleted, info: lower.info()})
		return nil
	case !lower.exists:
		kind = Added
	case lower.mount || upper.mount:
		if lower.fileType != upper.fileType {
			kind = Modified
		}
	case lower.inode() == upper.inode():
		return nil // the same inode: a directory with everything in it
	default:
		differ, err := w.differ(lower, upper, p)
		if err != nil {
			return failed("compare", w.trees[inUpper].path+d.path()+"/"+string(name), err)
		}
		if differ {
			kind = Modified
		}
	}
	if sub := below(d, string(name), kind, lower, upper); sub != nil {
		w.subdirs = append(w.subdirs, sub)
	} else if kind != 0 {
		d.add(found{name: string(name), kind: kind, info: upper.info()})
	}
	return nil
}

// below returns the subdirectory of a name, or nil if nothing in it is to be compared.
func below(d *dir, name string, kind Kind, lower, upper *status) *dir {
	if !upper.isDir() || upper.mount || lower.mount {
		return nil
	}
	sub := &dir{parent: d, depth: d.depth + 1, name: name, kind: kind, info: upper.info()}
	sub.in = [sides]bool{inLower: lower.isDir(), inUpper: true}
	if d.only != nil && lower.isDir() && lower.Ino == upper.Ino {
		if sub.only = d.only[name]; len(sub.only) == 0 {
			return nil
		}
	}
	sub.pending.Store(1)
	return sub
}

func (w *worker) name(p *pair) []byte {
	if e := p.at[inUpper]; e != nil {
		return w.listings[inUpper].name(e)
	}
	return w.listings[inLower].name(p.at[inLower])
}
