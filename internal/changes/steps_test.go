package changes

import (
	"testing"
)

// steppedLines returns the changes of a walk with one worker. It calls set before the
// walk, and between after the roots were read.
func steppedLines(t *testing.T, lower, upper string, set func(*walk), between func()) []string {
	t.Helper()
	root := &dir{}
	w := &walk{queue: newQueue()}
	for s, path := range [sides]string{lower, upper} {
		tree, err := openTree(path)
		must(t, err)
		defer tree.close()
		w.trees[s], root.in[s] = tree, true
	}
	if set != nil {
		set(w)
	}
	root.only = w.options.Only
	root.pending.Store(1)
	worker := &worker{walk: w}
	defer worker.close()
	must(t, worker.compare(t.Context(), root))
	if between != nil {
		between()
	}
	for over := root.done(); !over; {
		d := w.queue.pop()
		must(t, worker.compare(t.Context(), d))
		over = d.done()
	}
	var lines []string
	must(t, root.visit(t.Context(), func(c Change) error {
		lines = append(lines, c.String())
		return nil
	}))
	return lines
}
