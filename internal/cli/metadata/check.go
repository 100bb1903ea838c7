package metadata

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/fault"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/output"
	"thinctl/thinpool/metadata"
)

func checkCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "check", Args: "FILE", Usage: "check all metadata and list what is wrong",
		About: "Writes nothing. Checks checksums, trees, devices and space maps. A finding is a notice, a leak, which " +
			"only costs space, or damage. " +
			"Exits 0 if the metadata is sound, even with notices, and 6 if there are leaks or damage. " +
			"With --held it checks the metadata snapshot, and cannot find leaks, because the space maps change while a " +
			"pool is active.",
		Flags: []cli.Flag{heldFlag()}, Run: checkMetadata,
	})
}

type metadataFinding struct {
	Code       metadata.Code `json:"code"`
	Severity   string        `json:"severity"`
	Meaning    string        `json:"meaning"`
	Block      uint64        `json:"block"` // in the metadata; in the data if the code begins with data-
	Count      uint64        `json:"count"`
	Devices    []uint32      `json:"device_ids"`
	Detail     string        `json:"detail"`
	Repairable bool          `json:"repairable"`
	Lost       uint64        `json:"lost_mappings"` // at most
}

func newMetadataFindings(found []metadata.Finding) []metadataFinding {
	views := []metadataFinding{}
	for _, f := range found {
		views = append(views, metadataFinding{Code: f.Code, Severity: f.Severity.String(), Meaning: f.Code.Meaning(),
			Block: f.Block, Count: f.Count,
			Devices: append([]uint32{}, f.Devices...), Detail: f.Text, Repairable: f.Repairable, Lost: f.Lost})
	}
	return views
}

type metadataCheckView struct {
	output.Envelope
	Path     string             `json:"path"`
	Held     bool               `json:"held"`
	Verdict  string             `json:"verdict"` // sound, leaks or damage
	Complete bool               `json:"complete"`
	Findings []metadataFinding  `json:"findings"`
	Usage    *metadataUsageView `json:"usage,omitempty"` // without damage
}

func checkMetadata(c *command.Call) error {
	return onDamaged(c, c.Arg(0), func(s *source) error {
		o := metadata.CheckOptions{Blocks: s.blocks(), Held: s.held}
		if s.held != 0 {
			o.DataBlocks = s.dataBlocks()
		}
		read, done := c.Reading("checking metadata %s", s.path)
		o.Progress = read
		report, err := metadata.Check(c.Ctx, s, o)
		done()
		if err = s.finish(err); err != nil {
			return err
		}
		view := metadataCheckView{Envelope: output.Schema(), Path: s.path, Held: s.held != 0,
			Verdict: checkVerdict(report), Complete: report.Complete, Findings: newMetadataFindings(report.Findings)}
		if report.Usage != nil {
			view.Usage = newMetadataUsageView(s, *report.Usage)
		}
		if err := c.Show(view, view.write); err != nil {
			return err
		}
		switch view.Verdict {
		case "sound":
			return nil
		case "leaks":
			return exit.Errorf(fault.Unhealthy, "metadata %s has leaks: no data is at risk; `thinctl metadata repair "+
				"%[1]s -o NEW` writes a copy without leaks", s.path)
		}
		if s.live.Version == 0 {
			return exit.Errorf(fault.Unhealthy, "metadata %s is damaged: %s", s.path, noSuperblock)
		}
		if s.held != 0 {
			return exit.Errorf(fault.Unhealthy, "metadata %s is damaged: deactivate the pool, then check all of it "+
				"without --held", s.path)
		}
		return exit.Errorf(fault.Unhealthy, "metadata %s is damaged: do not activate the pool; `thinctl metadata "+
			"repair %[1]s -o NEW` writes a repaired copy to another file or device", s.path)
	})
}

func checkVerdict(r metadata.Report) string {
	switch worst, _ := r.Worst(); worst {
	case metadata.Damage:
		return "damage"
	case metadata.Leak:
		return "leaks"
	}
	return "sound"
}

func (v metadataCheckView) write(w io.Writer) {
	writeMetadataFindings(w, v.Findings)
	what := "metadata " + v.Path
	if v.Held {
		what = "the metadata snapshot in " + v.Path
	}
	fmt.Fprintf(w, "%s: %s\n", what, v.summary())
}

// writeMetadataFindings lists findings, then the meaning of their codes.
func writeMetadataFindings(w io.Writer, found []metadataFinding) {
	var codes []metadata.Code
	for _, f := range found {
		fmt.Fprintf(w, "%s: %s: %s", f.Severity, f.Code, f.Detail)
		if f.Lost > 0 {
			fmt.Fprintf(w, "; up to %d mappings are lost", f.Lost)
		}
		if f.Severity != metadata.Notice.String() && !f.Repairable {
			fmt.Fprint(w, "; cannot be repaired")
		}
		fmt.Fprintln(w)
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	if len(codes) == 0 {
		return
	}
	fmt.Fprintln(w)
	for _, code := range codes {
		output.Row(w, code, code.Meaning())
	}
	fmt.Fprintln(w)
}

// summary counts the findings of each severity and states the consequence.
func (v metadataCheckView) summary() string {
	count, lost, repairable := map[string]int{}, uint64(0), true
	for _, f := range v.Findings {
		count[f.Severity] += int(min(f.Count, 1<<40))
		lost += f.Lost
		repairable = repairable && (f.Repairable || f.Severity == metadata.Notice.String())
	}
	var parts []string
	for _, of := range []struct {
		severity metadata.Severity
		noun     string
	}{{metadata.Damage, "fault"}, {metadata.Leak, "leak"}, {metadata.Notice, "notice"}} {
		if n := count[of.severity.String()]; n > 0 {
			parts = append(parts, output.Plural(n, of.noun))
		}
	}
	counted := strings.Join(parts, ", ")
	switch {
	case v.Verdict == "leaks":
		return "leaks only, no data is at risk: " + counted
	case v.Verdict == "sound" && v.Held:
		return strings.TrimSuffix("sound; leaks cannot be found in a metadata snapshot: "+counted, ": ")
	case v.Verdict == "sound":
		return strings.TrimSuffix("sound: "+counted, ": ")
	}
	parts = []string{"damaged: " + counted}
	if !v.Complete {
		parts = append(parts, "part of it cannot be reached")
	}
	if lost > 0 {
		parts = append(parts, fmt.Sprintf("up to %d mappings are lost", lost))
	}
	if repairable {
		return strings.Join(append(parts, "the rest can be repaired"), ", ")
	}
	return strings.Join(append(parts, "cannot be repaired"), ", ")
}
