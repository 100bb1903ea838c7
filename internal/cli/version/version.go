// Package version has the command that prints the version.
package version

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
)

// Command returns `thinctl version`.
func Command(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{Name: "version", Usage: "print the version", Run: Show})
}

type versionView struct {
	output.Envelope
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified"`
	Built    string `json:"commit_time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Show prints what the Go toolchain stamped into the program.
func Show(c *command.Call) error {
	v := versionView{Envelope: output.Schema(), Version: command.ProgramVersion(), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				v.Revision = setting.Value
			case "vcs.time":
				v.Built = setting.Value
			case "vcs.modified":
				v.Modified = setting.Value == "true"
			}
		}
	}
	return c.Show(v, func(w io.Writer) {
		output.Field(w, "thinctl", v.Version)
		if v.Revision != "" {
			output.Field(w, "Revision", v.Revision)
		}
		output.Field(w, "Go", v.Go+" "+v.Platform)
	})
}
