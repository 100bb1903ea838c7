package command

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/config"
)

// ConfigFlag returns --config.
func ConfigFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", EnvVars: []string{"THINCTL_CONFIG"}, TakesFile: true,
		Usage: "read this `FILE` instead of " + config.Path}
}

// LoadConfig reads the configuration and applies the flags.
func (c *Call) LoadConfig() (config.Config, error) {
	return config.Load(config.Sources{Path: c.Flags.String("config"), Getenv: c.Getenv, Flags: c.configFlags()})
}

// configFlags returns the flags that were given, by their configuration keys.
func (c *Call) configFlags() map[string]config.Flag {
	flags := map[string]config.Flag{}
	for key, name := range map[string]string{"root": "root", "busy_timeout": "busy-timeout",
		"serve.log_level": "log-level",
		"serve.listen":    "listen", "serve.web_config": "web-config", "serve.interval": "interval",
		"serve.log_format": "log-format", "serve.pprof": "pprof"} {
		// urfave/cli counts a variable as a flag that was given.
		if c.Flags.IsSet(name) && (name != "root" || c.Root() != c.Getenv("THINCTL_ROOT")) {
			flags[key] = config.Flag{Name: name, Value: fmt.Sprint(c.Flags.Value(name))}
		}
	}
	return flags
}

// busyTimeout returns how long to wait for a device that is open; a negative value means no wait.
// A fault elsewhere in the configuration does not prevent removals.
func (c *Call) busyTimeout() (time.Duration, error) {
	const key, variable = "busy_timeout", "THINCTL_BUSY_TIMEOUT"
	flags := c.configFlags()
	own := config.Sources{Flags: map[string]config.Flag{}, Getenv: func(name string) string {
		if name == variable {
			return c.Getenv(name)
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
	path := c.Flags.String("config")
	if path == "" {
		path = c.Getenv("THINCTL_CONFIG")
	}
	loaded, err := config.Load(config.Sources{Path: path, Getenv: c.Getenv, Flags: flags})
	if err != nil {
		loaded = outside
		c.Logger.Warn("the configuration is ignored because of its faults: `thinctl config check` lists them", key,
			loaded.BusyTimeout)
	}
	if loaded.BusyTimeout == 0 {
		return -1, nil
	}
	return loaded.BusyTimeout, nil
}
