package command

import (
	"fmt"
	"slices"
	"sync"

	"thinctl/fault"
	"thinctl/internal/cli/output"
)

// mostWarnings limits the warnings that one command keeps, because an input may cause any number.
const mostWarnings = 100

// warnings holds the warnings about unusual input that was accepted. They are written to standard
// error before the result, and are in the JSON of the result.
type warnings struct {
	mu      sync.Mutex
	all     []string
	left    int // beyond mostWarnings
	written int // of all
}

func (w *warnings) add(one fault.Warning) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := output.Harmless(one.String())
	switch {
	case slices.Contains(w.all, text):
	case len(w.all) < mostWarnings:
		w.all = append(w.all, text)
	default:
		w.left++
	}
}

// Warn returns the function that receives the warnings of other packages.
func (c *Call) Warn() fault.Warn { return c.warnings.add }

// writeWarnings writes the warnings that were not written before.
func (c *Call) writeWarnings() {
	w := &c.warnings
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; w.written < len(w.all); w.written++ {
		fmt.Fprintf(c.Err, "thinctl: warning: %s\n", w.all[w.written])
	}
	if w.left > 0 {
		fmt.Fprintf(c.Err, "thinctl: warning: %s not shown\n", output.Plural(w.left, "more warning"))
		w.left = 0
	}
}

// WarnedView is part of the JSON of commands that read archives and images.
type WarnedView struct {
	Warnings []string `json:"warnings"`
}

// Warned returns the warnings so far for JSON.
func (c *Call) Warned() WarnedView {
	c.warnings.mu.Lock()
	defer c.warnings.mu.Unlock()
	return WarnedView{append([]string{}, c.warnings.all...)}
}
