package changes

import (
	"context"
	"runtime"
	"sync"
)

// Options are the options of Walk. The zero value compares any two trees by Docker's
// rules.
type Options struct {
	// SameOrigin declares that both trees are snapshots of one file system, or that
	// one is a snapshot of the other. Entries with the same inode number, times, size,
	// mode and owners are then taken as unchanged without a further comparison.
	SameOrigin bool
	// Exact also finds changes that Docker's rules ignore: entries of the same size
	// and modification time of which an extended attribute, the target of a link or
	// the content of a file differs. It reads files; with SameOrigin only those whose
	// inode changed.
	Exact bool
	// Only limits the comparison to a set of paths, and to everything below a directory
	// that is not the same inode in both trees. The caller warrants that no other entry
	// differs, and that nothing is mounted in the trees. If it is nil, or the lower tree
	// is empty, everything is compared.
	Only Names
	// Exclude leaves out the paths for which it returns true, and all paths below
	// them. Several goroutines call it concurrently.
	Exclude func(path string) bool
	// Workers is the number of directories that are read concurrently, by default two
	// to four, depending on the processors.
	Workers int
}

func (o Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return min(4, max(2, runtime.GOMAXPROCS(0)))
}

// Names is a set of paths in a directory: names, each with the paths below it.
type Names map[string]Names

// Walk compares the trees whose roots are the directories lower and upper, and then
// calls visit for each change, in the order of the paths. If lower is "", the lower
// tree is empty. An error of visit ends the walk and is returned unchanged, as is the
// cause of a context that ends.
func Walk(ctx context.Context, lower, upper string, o Options, visit func(Change) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	root := &dir{}
	w := &walk{options: o, queue: newQueue()}
	for s, path := range [sides]string{inLower: lower, inUpper: upper} {
		if path == "" && s == inLower {
			continue
		}
		t, err := openTree(path)
		if err != nil {
			return err
		}
		defer t.close()
		w.trees[s], root.in[s] = t, true
	}
	if root.in[inLower] {
		root.only = o.Only
	}
	if err := w.find(ctx, root); err != nil {
		return err
	}
	return root.visit(ctx, visit)
}

// The two sides of every comparison.
const (
	inLower = iota
	inUpper
	sides
)

// walk is the state that the workers share.
type walk struct {
	options Options
	trees   [sides]*tree
	queue   *queue
}

// find reads both trees and stores all changes in root.
func (w *walk) find(ctx context.Context, root *dir) error {
	defer context.AfterFunc(ctx, func() { w.queue.fail(context.Cause(ctx)) })()
	root.pending.Store(1)
	w.queue.push(root)
	var running sync.WaitGroup
	for range w.options.workers() {
		running.Go(func() {
			worker := &worker{walk: w}
			defer worker.close()
			for d := w.queue.pop(); d != nil; d = w.queue.pop() {
				if err := worker.compare(ctx, d); err != nil {
					w.queue.fail(err)
					return
				}
				if d.done() {
					w.queue.finish()
				}
			}
		})
	}
	running.Wait()
	return w.queue.err
}
