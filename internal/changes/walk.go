package changes

import (
	"context"
	"runtime"
	"sync"
)

// Options changes what Walk compares and how. The zero value compares any two
// trees by Docker's rules.
type Options struct {
	// SameOrigin promises that both trees are snapshots of one file system, or
	// one of the other: what has the same inode number, times, size, mode and
	// owners in both is taken as unchanged without a further look.
	SameOrigin bool
	// Exact also tells what Docker's rules do not see: entries of the same size
	// and modification time of which any extended attribute, a link's target or
	// a file's content differs. Files are read for it; with SameOrigin only
	// those whose inode changed.
	Exact bool
	// Exclude leaves out the paths for which it returns true, and all below
	// them. Several goroutines call it at once.
	Exclude func(path string) bool
	// Workers is how many folders are read at once; 0 means two to four,
	// depending on the processors.
	Workers int
}

func (o Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return min(4, max(2, runtime.GOMAXPROCS(0)))
}

// Walk compares the trees whose roots are the folders lower and upper, and then
// calls visit with each change, in the order of their paths. An empty lower is
// an empty tree. An error of visit ends the walk and is returned as it is; so is
// the cause of a context that ends.
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

// walk is what its workers share.
type walk struct {
	options Options
	trees   [sides]*tree
	queue   *queue
}

// find reads both trees and leaves all changes below root.
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
