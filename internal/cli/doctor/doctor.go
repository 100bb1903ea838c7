// Package doctor has the command that checks the host.
package doctor

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/internal/doctor"
	"thinctl/thinpool"
)

// Command returns `thinctl doctor`.
func Command(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "doctor", Usage: "check whether this host can run thin pools",
		About: "Changes nothing. Exits 6 if a check fails; warnings do not count.",
		Run:   run,
	})
}

type checkupView struct {
	output.Envelope
	Healthy bool           `json:"healthy"`
	Checks  []doctor.Check `json:"checks"`
}

func run(c *command.Call) error {
	open := func() (thinpool.Host, io.Closer, error) { return c.OpenHost(c.Logger) }
	checks := doctor.Examine(c.Ctx, doctor.Options{Root: c.Root(), EUID: c.EUID, Open: open, Probe: c.Probe})
	view := checkupView{Envelope: output.Schema(), Healthy: true, Checks: checks}
	failures := 0
	for _, row := range checks {
		if row.Verdict == doctor.Fail {
			view.Healthy = false
			failures++
		}
	}
	if err := c.Show(view, func(w io.Writer) { writeCheckup(c, w, checks) }); err != nil {
		return err
	}
	if failures > 0 {
		return exit.Errorf(fault.Unhealthy, "doctor: %s; see the remedy on each line above",
			output.Plural(failures, "check")+" failed")
	}
	return nil
}

// writeCheckup prints the verdicts first. All colors have the same length, which keeps the columns
// aligned.
func writeCheckup(c *command.Call, w io.Writer, rows []doctor.Check) {
	colors := map[doctor.Verdict]string{doctor.OK: "\033[32m", doctor.Warn: "\033[33m", doctor.Fail: "\033[31m"}
	colored := c.Colored()
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
