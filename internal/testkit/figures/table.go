//go:build kernel

package seeds

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
)

// line is a line of the table.
type line struct {
	step, text, seen, bound string
	missed                  bool
}

// table is printed at the end, also if a step has failed.
type table struct {
	t     *testing.T
	lines []line
}

// within adds a line, and fails the test unless seen is from least to most.
func (tb *table) within(step, text string, seen, least, most int64) {
	tb.t.Helper()
	l := line{step: step, text: text, seen: bytes(seen), bound: "at most " + bytes(most)}
	if least == most {
		l.bound = "exactly " + bytes(most)
	} else if least > 0 {
		l.bound = bytes(least) + " to " + bytes(most)
	}
	if seen < least || seen > most {
		l.missed = true
		tb.t.Errorf("%s: got %d bytes, want %s", step, seen, l.bound)
	}
	tb.lines = append(tb.lines, l)
}

// same adds a line for values that must be equal.
func (tb *table) same(step, text string, want, seen any) {
	tb.t.Helper()
	l := line{step: step, text: text, seen: fmt.Sprint(seen), bound: fmt.Sprint(want)}
	if l.seen != l.bound {
		l.missed = true
		tb.t.Errorf("%s: %v, want %v", step, seen, want)
	}
	tb.lines = append(tb.lines, l)
}

func (tb *table) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\nstep\twhat the text saw\twhat we see\tbound\t")
	for _, l := range tb.lines {
		verdict := "ok"
		if l.missed {
			verdict = "MISSED"
		}
		fmt.Fprintln(w, strings.Join([]string{l.step, l.text, l.seen, l.bound, verdict}, "\t"))
	}
	w.Flush()
}

func bytes(n int64) string {
	switch {
	case n < 0:
		return "-" + bytes(-n)
	case n >= 10<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d B", n)
	}
}
