package main

import (
	"strings"

	"thinctl/units"
)

// target is a size that was asked for: a total, or so much more.
type target struct {
	size units.Bytes
	more bool
}

// parseTarget reads "20G", or "+5G" for that much more.
func parseTarget(text string) (target, error) {
	rest, more := strings.CutPrefix(text, "+")
	size, err := units.Parse(rest)
	if err != nil {
		return target{}, &usageError{why: err.Error()}
	}
	if size == 0 {
		return target{}, &usageError{why: "size " + text + " is nothing", remedy: "give the new size, or +SIZE for so much more"}
	}
	return target{size: size, more: more}, nil
}
