// Package config has the commands that show and check the configuration.
package config

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/config"
	"thinctl/internal/daemon"
)

// Commands returns `thinctl config` with its commands.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "show and check the configuration",
		Subcommands: []*cli.Command{
			env.Command(command.Spec{
				Name: "show", Args: "[POOL]", Usage: "show the settings in effect and the origin of each value",
				About: "A flag overrides a THINCTL_ variable, which overrides the file, which overrides the default; a " +
					"pool's own table overrides them all. With the name of a pool: the settings of that pool.",
				Flags: []cli.Flag{command.ConfigFlag()}, Run: showConfig, Complete: (*command.Call).PoolNames,
			}),
			env.Command(command.Spec{
				Name: "check", Usage: "list all faults of the configuration",
				About: "Exits 2 if there are any. Changes nothing.",
				Flags: []cli.Flag{command.ConfigFlag()}, Run: checkConfig,
			}),
			env.Command(command.Spec{
				Name: "sample", Usage: "print a file with every key and its default, commented out",
				Run: func(c *command.Call) error { _, err := io.WriteString(c.Out, config.Sample()); return err },
			}),
		},
		BashComplete: env.Completer(nil),
	}
}

type configView struct {
	output.Envelope
	File     string        `json:"file,omitempty"`
	Settings []settingView `json:"settings"`
}

type settingView struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // in the syntax of the file
	Origin string `json:"origin"`
	Line   int    `json:"line,omitempty"`
}

func showConfig(c *command.Call) error {
	loaded, err := c.LoadConfig()
	if err != nil {
		return err
	}
	view := configView{Envelope: output.Schema(), File: loaded.Path(), Settings: []settingView{}}
	settings := loaded.Settings(c.Arg(0))
	for _, one := range settings {
		view.Settings = append(view.Settings, settingView{one.Key, one.Value, one.Origin.Name, one.Origin.Line})
	}
	return c.Show(view, func(w io.Writer) {
		output.Row(w, "KEY", "VALUE", "FROM")
		for _, one := range settings {
			output.Row(w, one.Key, one.Value, one.Origin)
		}
	})
}

func checkConfig(c *command.Call) error {
	loaded, err := c.LoadConfig()
	if err == nil {
		err = daemon.CheckWeb(loaded.Serve)
	}
	if err != nil {
		return err
	}
	view := struct {
		output.Envelope
		File   string `json:"file,omitempty"`
		Faults int    `json:"faults"`
	}{output.Schema(), loaded.Path(), 0}
	return c.Show(view, func(w io.Writer) {
		if view.File == "" {
			fmt.Fprintf(w, "there is no %s: the defaults are in effect\n", config.Path)
			return
		}
		fmt.Fprintf(w, "%s: sound\n", view.File)
	})
}
