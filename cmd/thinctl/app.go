package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/doctor"
	"thinctl/internal/metadatafile"
	"thinctl/thinpool"
)

// app is the program with all that it touches, so that tests can give it a
// host in memory.
type app struct {
	in         io.Reader
	out, err   io.Writer
	getenv     func(string) string
	euid       func() int
	keyboard   bool // standard input is a terminal
	dialog     bool // somebody is there to answer
	progressOn bool
	colorOn    bool // standard output is a terminal
	columns    int  // that it has; 0 where it is none

	host     func(*slog.Logger) (thinpool.Host, io.Closer, error)
	files    fileSystems
	probe    doctor.Probe
	metadata metadatafile.Host

	completing string // the word under the cursor
}

// run carries out one command line and returns the exit code.
func (a *app) run(ctx context.Context, words []string) int {
	out := &sink{w: a.out}
	a.out = out
	err := a.dispatch(ctx, words)
	if err == nil && out.err != nil {
		err = fmt.Errorf("writing the result: %w", out.err)
	}
	if err != nil {
		io.WriteString(a.err, explain(ctx, err))
	}
	return exitCode(ctx, err)
}

func (a *app) dispatch(ctx context.Context, words []string) error {
	root := a.root()
	if n := len(words) - 1; n >= 0 && words[n] == completionMark {
		return a.complete(ctx, root, words[:n])
	}
	line, err := arrange(root, words)
	if err != nil {
		return err
	}
	if len(line.command.Subcommands) > 0 && !line.help && !line.asksVersion() {
		return &usageError{why: strings.TrimPrefix(strings.Join(line.path, " ")+": no command was given", ": "), remedy: helpHint(line.path)}
	}
	return root.RunContext(ctx, line.words())
}

func (l line) asksVersion() bool {
	for _, word := range l.globals {
		if word == "--version" {
			return true
		}
	}
	return false
}

// root builds the tree of commands. It is built for each run: cli's flags keep
// state.
func (a *app) root() *cli.App {
	root := &cli.App{
		Name:  "thinctl",
		Usage: "thin pools for images, layers and containers on the Linux device mapper",
		Description: "thinctl makes thin pools on sparse files or block devices, and thin volumes and snapshots in them; " +
			"image layers and containers are such volumes. " +
			"Sizes take K, M, G, T and P, which are 1024-based; of images, layers and containers they are shown as Docker does, 1000-based. " +
			"Flags may stand before or after arguments. " +
			"A volume is written POOL NAME or POOL/NAME; an image by its name or the beginning of its id.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 exists already, 5 in use, 6 not healthy, " +
			"7 privilege or kernel feature missing, 130 interrupted.",
		Flags:                globalFlags(),
		Commands:             []*cli.Command{a.poolCommands(), a.volumeCommands(), a.layerCommands(), a.containerCommands(), a.imageCommands(), a.metadataCommands(), a.metricsCommand(), a.serveCommand(), a.configCommands(), a.explainCommand(), a.doctorCommand(), a.completionCommand(), a.versionCommand(), a.docsCommand(a.root)},
		Writer:               a.out,
		ErrWriter:            a.err,
		HideHelpCommand:      true,
		HideVersion:          true,
		EnableBashCompletion: true,
		ExitErrHandler:       func(*cli.Context, error) {},
		OnUsageError:         asUsageError,
		Action: a.action(func(c *call) error { // only --version gets here
			return c.showVersion()
		}),
	}
	settle(root.Commands, root.Name)
	return root
}

// settle gives each command what cli would otherwise decide for itself. Its
// own help command would shadow arguments: `thinctl pool status h`.
func settle(commands []*cli.Command, above string) {
	for _, command := range commands {
		name := above + " " + command.Name
		command.HideHelpCommand = true
		command.OnUsageError = asUsageError
		if len(command.Subcommands) == 0 {
			command.UsageText = strings.TrimSpace(name + " [flags] " + command.ArgsUsage)
		}
		settle(command.Subcommands, name)
	}
}

func asUsageError(c *cli.Context, err error, _ bool) error {
	name := commandName(c.Command)
	return &usageError{why: strings.TrimPrefix(name+": "+err.Error(), ": "), remedy: helpHint(strings.Fields(name))}
}

func commandName(c *cli.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(c.HelpName, "thinctl"))
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Value: thinpool.Root, EnvVars: []string{"THINCTL_ROOT"}, Usage: "`FOLDER` that the pools are in"},
		&cli.BoolFlag{Name: "json", EnvVars: []string{"THINCTL_JSON"}, Usage: "write the result as JSON"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, EnvVars: []string{"THINCTL_TIMEOUT"}, Usage: "give up after this `TIME`; 0 for never, which is the default where whole images are moved"},
		&cli.DurationFlag{Name: "busy-timeout", Value: thinpool.BusyTimeout, Usage: "wait this `TIME` for a device that another process has open, before it is removed; 0 for not at all (THINCTL_BUSY_TIMEOUT, or busy_timeout of the configuration)"},
		&cli.StringFlag{Name: "log-level", Value: "warn", EnvVars: []string{"THINCTL_LOG_LEVEL"}, Usage: "log from this `LEVEL` on: debug, info, warn or error"},
		&cli.BoolFlag{Name: "no-color", Usage: "write without colors, as with NO_COLOR set"},
		&cli.BoolFlag{Name: "version", Usage: "print the version"},
	}
}

// sink remembers the first failure of a writer: a result that was not written
// is no success.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}
