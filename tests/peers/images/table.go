package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// write prints the results as Markdown.
func (r results) write(w io.Writer, operations, peers []string) {
	fmt.Fprint(w, "\n| operation | by | median | min | max | times | median / floor | median / thinctl |"+
		" median / containerd thinctl |\n"+
		"|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, operation := range operations {
		for _, peer := range peers {
			t := r[key{peer, operation}]
			if len(t) == 0 {
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %d | %s | %s | %s |\n", operation, peer,
				short(t.median()), short(slices.Min(t)), short(slices.Max(t)), len(t),
				ratio(t.median(), r[key{floorName, operation}].median()),
				ratio(t.median(), r[key{thinctlName, operation}].median()),
				ratio(t.median(), r[key{servingName, operation}].median()))
		}
	}
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.3f s", d.Seconds())
}

func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f x", float64(a)/float64(b))
}
