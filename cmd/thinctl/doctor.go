package main

import (
	"fmt"
	"io"

	"thinctl/internal/doctor"
	"thinctl/thinpool"

	"github.com/urfave/cli/v2"
)

func (a *app) doctorCommand() *cli.Command {
	return a.leaf(leaf{
		name: "doctor", usage: "look whether this host is fit for thin pools",
		about: "Changes nothing. Exits 6 where something fails; warnings do not count.",
		run:   (*call).doctor,
	})
}

type checkupView struct {
	envelope
	Healthy bool           `json:"healthy"`
	Checks  []doctor.Check `json:"checks"`
}

func (c *call) doctor() error {
	open := func() (thinpool.Host, io.Closer, error) { return c.app.host(c.logger) }
	checks := doctor.Examine(c.ctx, doctor.Options{Root: c.root(), EUID: c.euid, Open: open, Probe: c.probe})
	view := checkupView{envelope: schema(), Healthy: true, Checks: checks}
	failures := 0
	for _, row := range checks {
		if row.Verdict == doctor.Fail {
			view.Healthy = false
			failures++
		}
	}
	if err := c.show(view, func(w io.Writer) { c.writeCheckup(w, checks) }); err != nil {
		return err
	}
	if failures > 0 {
		return failed(errUnhealthy, "doctor: %s; each line above says what to do", plural(failures, "check")+" failed")
	}
	return nil
}

// writeCheckup puts the verdict first. Colors of the same length keep
// tabwriter's columns.
func (c *call) writeCheckup(w io.Writer, rows []doctor.Check) {
	colors := map[doctor.Verdict]string{doctor.OK: "\033[32m", doctor.Warn: "\033[33m", doctor.Fail: "\033[31m"}
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
