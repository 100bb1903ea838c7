package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

func (a *app) doctorCommand() *cli.Command {
	return a.leaf(leaf{
		name: "doctor", usage: "look whether this host is fit for thin pools",
		about: "Changes nothing. Exits 6 where something fails; warnings do not count.",
		run:   (*call).doctor,
	})
}

type verdict string

const (
	verdictOK   verdict = "ok"
	verdictWarn verdict = "warn"
	verdictFail verdict = "fail"
)

type checkupView struct {
	envelope
	Healthy bool         `json:"healthy"`
	Checks  []symptomRow `json:"checks"`
}

type symptomRow struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Found   string  `json:"found"`
	Remedy  string  `json:"remedy,omitempty"`
}

// checkup gathers what the doctor finds.
type checkup struct {
	*call
	rows []symptomRow
}

func (u *checkup) ok(check, format string, args ...any) {
	u.rows = append(u.rows, symptomRow{check, verdictOK, fmt.Sprintf(format, args...), ""})
}

func (u *checkup) warn(check, remedy, format string, args ...any) {
	u.rows = append(u.rows, symptomRow{check, verdictWarn, fmt.Sprintf(format, args...), remedy})
}

func (u *checkup) fail(check, remedy, format string, args ...any) {
	u.rows = append(u.rows, symptomRow{check, verdictFail, fmt.Sprintf(format, args...), remedy})
}

func (c *call) doctor() error {
	u := &checkup{call: c}
	u.permissions()
	u.kernel()
	u.loops()
	u.udev()
	u.programs()
	u.space()
	u.leftovers()
	view := checkupView{envelope: schema(), Healthy: true, Checks: u.rows}
	failures := 0
	for _, row := range u.rows {
		if row.Verdict == verdictFail {
			view.Healthy = false
			failures++
		}
	}
	if err := c.show(view, func(w io.Writer) { c.writeCheckup(w, u.rows) }); err != nil {
		return err
	}
	if failures > 0 {
		return failed(errUnhealthy, "doctor: %s; each line above says what to do", plural(failures, "check")+" failed")
	}
	return nil
}

// writeCheckup puts the verdict first. Colors of the same length keep
// tabwriter's columns.
func (c *call) writeCheckup(w io.Writer, rows []symptomRow) {
	colors := map[verdict]string{verdictOK: "\033[32m", verdictWarn: "\033[33m", verdictFail: "\033[31m"}
	colored := c.colored()
	for _, row := range rows {
		mark := string(row.Verdict)
		if colored {
			mark = colors[row.Verdict] + mark + "\033[0m"
		}
		found := row.Found
		if row.Remedy != "" {
			found += "; " + row.Remedy
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", mark, row.Check, found)
	}
}
