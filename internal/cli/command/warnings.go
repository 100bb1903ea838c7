package command

import (
	"fmt"
	"slices"
	"sync"

	"thinctl/fault"
	"thinctl/internal/cli/output"
)

// mostWarnings bounds the warnings that one command keeps: input may have any
// number of oddities.
const mostWarnings = 100

// warnings collects what a command accepted although it is unusual. It is
// written to standard error before the result, and is in the result's JSON.
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

// Warn is where the packages below send their warnings.
func (c *Call) Warn() fault.Warn { return c.warnings.add }

// writeWarnings writes the warnings that were not written yet.
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

// WarnedView is part of the JSON of commands that read what others wrote.
type WarnedView struct {
	Warnings []string `json:"warnings"`
}

func (c *Call) Warned() WarnedView {
	c.warnings.mu.Lock()
	defer c.warnings.mu.Unlock()
	return WarnedView{append([]string{}, c.warnings.all...)}
}
