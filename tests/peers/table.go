package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// write prints the results as Markdown.
func (r results) write(w io.Writer, peers []string, sizes []int) {
	for _, operation := range operations {
		fmt.Fprintf(w, "\n### %s\n\n", operation)
		fmt.Fprint(w, "| volumes in the pool | by | median | min | max | times "+
			"| median / floor | minimum / floor | median / thinctl |\n")
		fmt.Fprintf(w, "|---:|---|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, size := range sizes {
			for _, peer := range peers {
				t := r[key{peer, operation, size}]
				if len(t) == 0 {
					fmt.Fprintf(w, "| %d | %s | not measured | | | | | | |\n", size, peer)
					continue
				}
				fmt.Fprintf(w, "| %d | %s | %s | %s | %s | %d | %s | %s | %s |\n", size, peer,
					short(t.median()), short(t.least()), short(slices.Max(t)), len(t),
					ratio(t.median(), r[key{floorName, operation, size}].median()),
					ratio(t.least(), r[key{floorName, operation, size}].least()),
					ratio(t.median(), r[key{libraryName, operation, size}].median()))
			}
		}
	}
	if len(sizes) < 2 {
		return
	}
	first, last := sizes[0], sizes[len(sizes)-1]
	fmt.Fprintf(w, "\n### From %d to %d volumes\n\n| by | %s | %s | %s |\n|---|---:|---:|---:|\n",
		first, last, operations[0], operations[1], operations[2])
	for _, peer := range peers {
		fmt.Fprintf(w, "| %s |", peer)
		for _, operation := range operations {
			fmt.Fprintf(w, " %s |", ratio(r[key{peer, operation, last}].median(), r[key{peer, operation, first}].median()))
		}
		fmt.Fprintln(w)
	}
}

func short(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f x", float64(a)/float64(b))
}
