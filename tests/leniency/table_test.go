//go:build systemd

package leniency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"thinctl/internal/testkit/imagetest"
)

// answer is the result of one program for one row.
type answer struct {
	accepted bool   // it exits with 0, and its files are as expected or not compared
	differs  string // how they differ, although it exits with 0
	fault    string // the program's reason to refuse
	absent   bool   // it does not read images of this form
}

func (a answer) String() string {
	switch {
	case a.accepted:
		return "yes"
	case a.absent:
		return "-"
	case a.differs != "":
		return "differs: " + short(a.differs)
	}
	return short(a.fault)
}

// short returns the text of a cell.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	const most = 70
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// TestTable runs every row through every program and prints the table.
func TestTable(t *testing.T) {
	all := quirks()
	answers := make([][]answer, len(all))
	t.Cleanup(func() { printTable(all, answers) })
	var mutex sync.Mutex
	for i, q := range all {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			in, stop, err := started.prepare(q)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := stop(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			row := make([]answer, len(peers))
			for n, p := range peers {
				row[n] = attempt(t.Context(), p, in)
				if row[n].fault+row[n].differs != "" {
					t.Logf("%s: %s%s", p.name, row[n].differs, row[n].fault)
				}
			}
			mutex.Lock()
			answers[i] = row
			mutex.Unlock()
			for _, fault := range judge(q, row) {
				t.Error(fault)
			}
		})
	}
}

func attempt(ctx context.Context, p peer, in input) answer {
	ctx, cancel := context.WithTimeout(ctx, attemptDeadline)
	defer cancel()
	tree, err := p.try(ctx, started, in)
	switch {
	case errors.Is(err, errDoesNotApply):
		return answer{absent: true}
	case err != nil:
		return answer{fault: cause(err, in)}
	case in.compared():
		left := []imagetest.Part{imagetest.Times}
		if in.copies {
			left = append(left, imagetest.Groups)
		}
		if lines := in.tree.Without(left...).Diff(withoutAufs(tree).Without(left...), 3); len(lines) > 0 {
			return answer{differs: strings.Join(strings.Fields(strings.Join(lines, "; ")), " ")}
		}
	}
	return answer{accepted: true}
}

// noise is the text that programs print before an error's cause.
var noise = regexp.MustCompile(`^.*(?:ctr: |level=fatal msg=|Error response from daemon: )|^(?:unpacking .*\.\.\.|thinctl: )`)

// cause returns an error's last line without command line, status and the test's own
// directories.
func cause(err error, in input) string {
	text := strings.TrimSpace(err.Error())
	if _, printed, found := strings.Cut(text, "\n"); found {
		lines := strings.Split(printed, "\n")
		text = noise.ReplaceAllString(lines[len(lines)-1], "")
	}
	return strings.NewReplacer(in.dir+"/", "", started.dir+"/", "").Replace(text)
}

// judge returns the fault of a row, if it has one.
func judge(q quirk, row []answer) (faults []string) {
	ours := row[0]
	var others []string
	for i, a := range row[1:] {
		if a.accepted {
			others = append(others, peers[i+1].name)
		}
	}
	switch {
	case q.hostile && ours.accepted:
		faults = append(faults, "thinctl accepts a hostile image: "+q.reason)
	case q.hostile:
	case ours.differs != "":
		faults = append(faults, "thinctl exits with 0, and the root is not as expected: "+ours.differs)
	case ours.accepted && q.reason != "":
		faults = append(faults, "thinctl accepts it: the reason for refusing it is not needed: "+q.reason)
	case !ours.accepted && len(others) > 0 && q.reason == "":
		faults = append(faults, fmt.Sprintf("%s accepts it, thinctl does not, and the row states no reason: %s",
			strings.Join(others, ", "), ours.fault))
	}
	return faults
}

// printTable prints the rows that ran.
func printTable(all []quirk, answers [][]answer) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "quirk\tform")
	for _, p := range peers {
		fmt.Fprint(w, "\t", p.name)
	}
	fmt.Fprintln(w, "\treason")
	count, rows := make([]int, len(peers)), 0
	for i, q := range all {
		if answers[i] == nil {
			continue
		}
		rows++
		fmt.Fprintf(w, "%s\t%s", q.name, q.form)
		for n, a := range answers[i] {
			fmt.Fprint(w, "\t", a)
			if a.accepted {
				count[n]++
			}
		}
		fmt.Fprintf(w, "\t%s\n", cmp.Or(q.reason, verdict(q, answers[i])))
	}
	fmt.Fprintf(w, "%d rows\taccepted", rows)
	for _, n := range count {
		fmt.Fprint(w, "\t", n)
	}
	fmt.Fprintln(w, "\t")
	w.Flush()
}

// verdict marks the rows that fail.
func verdict(q quirk, row []answer) string {
	if len(judge(q, row)) > 0 {
		return "FAILS"
	}
	return ""
}
