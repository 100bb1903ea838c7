package main

import (
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

func (a *app) versionCommand() *cli.Command {
	return a.leaf(leaf{name: "version", usage: "print the version", run: (*call).showVersion})
}

type versionView struct {
	envelope
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified"`
	Built    string `json:"commit_time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// showVersion tells what the Go toolchain stamped into the binary.
func (c *call) showVersion() error {
	v := versionView{envelope: schema(), Version: programVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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
	return c.show(v, func(w io.Writer) {
		fact(w, "thinctl", v.Version)
		if v.Revision != "" {
			fact(w, "Revision", v.Revision)
		}
		fact(w, "Go", v.Go+" "+v.Platform)
	})
}

// programVersion is what the Go toolchain knows the program by.
func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
