package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/config"
	"thinctl/internal/daemon"
)

func (a *app) configCommands() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "look at the configuration",
		Subcommands: []*cli.Command{
			a.leaf(leaf{
				name: "show", args: "[POOL]", usage: "show what holds, and where each value came from",
				about: "A flag goes before a THINCTL_ variable, a variable before the file, the file before the default; a pool's own table before all of them. With a pool's name: what holds for that pool.",
				flags: []cli.Flag{configFlag()}, run: (*call).showConfig, complete: (*call).poolNames,
			}),
			a.leaf(leaf{
				name: "check", usage: "tell all faults of the configuration",
				about: "Exits 2 where there are any; nothing is changed.",
				flags: []cli.Flag{configFlag()}, run: (*call).checkConfig,
			}),
			a.leaf(leaf{
				name: "sample", usage: "print a file that has every key, commented out, with its default",
				run: func(c *call) error { _, err := io.WriteString(c.out, config.Sample()); return err },
			}),
		},
		BashComplete: a.completer(nil),
	}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", EnvVars: []string{"THINCTL_CONFIG"}, TakesFile: true,
		Usage: "read this `FILE`, not " + config.Path}
}

// loadConfig reads the configuration as it is now, with the flags that were given.
func (c *call) loadConfig() (config.Config, error) {
	return config.Load(config.Sources{Path: c.flags.String("config"), Getenv: c.getenv, Flags: c.configFlags()})
}

// configFlags returns the flags that were given, by the keys that they set.
func (c *call) configFlags() map[string]config.Flag {
	flags := map[string]config.Flag{}
	for key, name := range map[string]string{"root": "root", "busy_timeout": "busy-timeout", "serve.log_level": "log-level",
		"serve.listen": "listen", "serve.web_config": "web-config", "serve.interval": "interval",
		"serve.log_format": "log-format", "serve.pprof": "pprof"} {
		// cli takes a variable for a flag that was given.
		if c.flags.IsSet(name) && (name != "root" || c.root() != c.getenv("THINCTL_ROOT")) {
			flags[key] = config.Flag{Name: name, Value: fmt.Sprint(c.flags.Value(name))}
		}
	}
	return flags
}

// busyTimeout returns how long to wait for a device that is open, negative for not
// at all. A fault elsewhere in the configuration stops no removal.
func (c *call) busyTimeout() (time.Duration, error) {
	const key, variable = "busy_timeout", "THINCTL_BUSY_TIMEOUT"
	flags := c.configFlags()
	own := config.Sources{Flags: map[string]config.Flag{}, Getenv: func(name string) string {
		if name == variable {
			return c.getenv(name)
		}
		return ""
	}}
	if flag, given := flags[key]; given {
		own.Flags[key] = flag
	}
	outside, err := config.Parse(nil, "", own)
	if err != nil {
		return 0, err
	}
	path := c.flags.String("config")
	if path == "" {
		path = c.getenv("THINCTL_CONFIG")
	}
	loaded, err := config.Load(config.Sources{Path: path, Getenv: c.getenv, Flags: flags})
	if err != nil {
		loaded = outside
		c.logger.Warn("the configuration is not used: `thinctl config check` lists its faults", key, loaded.BusyTimeout)
	}
	if loaded.BusyTimeout == 0 {
		return -1, nil
	}
	return loaded.BusyTimeout, nil
}

type configView struct {
	envelope
	File     string        `json:"file,omitempty"`
	Settings []settingView `json:"settings"`
}

type settingView struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // as the file has it
	Origin string `json:"origin"`
	Line   int    `json:"line,omitempty"`
}

func (c *call) showConfig() error {
	loaded, err := c.loadConfig()
	if err != nil {
		return err
	}
	view := configView{envelope: schema(), File: loaded.Path(), Settings: []settingView{}}
	settings := loaded.Settings(c.arg(0))
	for _, one := range settings {
		view.Settings = append(view.Settings, settingView{one.Key, one.Value, one.Origin.Name, one.Origin.Line})
	}
	return c.show(view, func(w io.Writer) {
		row(w, "KEY", "VALUE", "FROM")
		for _, one := range settings {
			row(w, one.Key, one.Value, one.Origin)
		}
	})
}

func (c *call) checkConfig() error {
	loaded, err := c.loadConfig()
	if err == nil {
		err = daemon.CheckWeb(loaded.Serve)
	}
	if err != nil {
		return err
	}
	view := struct {
		envelope
		File   string `json:"file,omitempty"`
		Faults int    `json:"faults"`
	}{schema(), loaded.Path(), 0}
	return c.show(view, func(w io.Writer) {
		if view.File == "" {
			fmt.Fprintf(w, "there is no %s: the defaults hold\n", config.Path)
			return
		}
		fmt.Fprintf(w, "%s: sound\n", view.File)
	})
}
