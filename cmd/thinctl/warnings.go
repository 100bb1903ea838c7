package main

import (
	"fmt"
	"slices"
	"sync"

	"thinctl/fault"
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
	text := harmless(one.String())
	switch {
	case slices.Contains(w.all, text):
	case len(w.all) < mostWarnings:
		w.all = append(w.all, text)
	default:
		w.left++
	}
}

// warn is where the packages below send their warnings.
func (c *call) warn() fault.Warn { return c.warnings.add }

// writeWarnings writes the warnings that were not written yet.
func (c *call) writeWarnings() {
	w := &c.warnings
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; w.written < len(w.all); w.written++ {
		fmt.Fprintf(c.err, "thinctl: warning: %s\n", w.all[w.written])
	}
	if w.left > 0 {
		fmt.Fprintf(c.err, "thinctl: warning: and %s like these\n", plural(w.left, "more warning"))
		w.left = 0
	}
}

// warnedView is part of the JSON of commands that read what others wrote.
type warnedView struct {
	Warnings []string `json:"warnings"`
}

func (c *call) warned() warnedView {
	c.warnings.mu.Lock()
	defer c.warnings.mu.Unlock()
	return warnedView{append([]string{}, c.warnings.all...)}
}
