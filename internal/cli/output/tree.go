package output

import (
	"fmt"
	"io"
	"strings"
)

// DrawTree draws a tree as `docker images --tree` did.
func DrawTree[N any](w io.Writer, nodes []N, text func(N) string, below func(N) []N) {
	var draw func(nodes []N, indent string)
	draw = func(nodes []N, indent string) {
		for i, node := range nodes {
			branch, bar := "├─", "│ "
			if i == len(nodes)-1 {
				branch, bar = "└─", "  "
			}
			fmt.Fprintln(w, indent+branch+strings.TrimRight(text(node), " "))
			draw(below(node), indent+bar)
		}
	}
	draw(nodes, "")
}
