// Package figures compares the figures of acceptance experiments with their bounds, and
// prints them as a table.
package figures

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

// Table is printed at the end, also if a step has failed.
type Table struct {
	t     *testing.T
	lines []line
}

// New returns a table of a test.
func New(t *testing.T) *Table { return &Table{t: t} }

// Within adds a line, and fails the test unless seen is from least to most. text is what
// the source of the experiment saw.
func (tb *Table) Within(step, text string, seen, least, most int64) {
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
	tb.add(l)
}

// add adds a line, and logs it: the table comes only at the end.
func (tb *Table) add(l line) {
	tb.t.Helper()
	tb.t.Logf("%s: %s", l.step, l.seen)
	tb.lines = append(tb.lines, l)
}

// Same adds a line for values that must be equal.
func (tb *Table) Same(step, text string, want, seen any) {
	tb.t.Helper()
	l := line{step: step, text: text, seen: fmt.Sprint(seen), bound: fmt.Sprint(want)}
	if l.seen != l.bound {
		l.missed = true
		tb.t.Errorf("%s: %v, want %v", step, seen, want)
	}
	tb.add(l)
}

// Print prints the table.
func (tb *Table) Print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "\nstep\twhat the text saw\twhat we see\tbound\t")
	for _, l := range tb.lines {
		verdict := "ok"
		if l.missed {
			verdict = "MISSED"
		}
		fmt.Fprintln(w, strings.Join([]string{l.step, l.text, l.seen, l.bound, verdict}, "\t"))
	}
	if err := w.Flush(); err != nil {
		tb.t.Error(err)
	}
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
