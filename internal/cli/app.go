// Package cli is the command line: it builds the tree of commands, runs one of them and turns its error into an exit
// code. Each noun has a package below this one; the packages beside them hold the shared parts.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/completion"
	"thinctl/internal/cli/config"
	"thinctl/internal/cli/container"
	"thinctl/internal/cli/docs"
	"thinctl/internal/cli/doctor"
	"thinctl/internal/cli/exit"
	"thinctl/internal/cli/explain"
	"thinctl/internal/cli/image"
	"thinctl/internal/cli/layer"
	"thinctl/internal/cli/metadata"
	"thinctl/internal/cli/metrics"
	"thinctl/internal/cli/pool"
	"thinctl/internal/cli/serve"
	"thinctl/internal/cli/version"
	"thinctl/internal/cli/volume"
	"thinctl/thinpool"
)

// run runs one command line and returns the exit code.
func run(ctx context.Context, env *command.Environment, words []string) int {
	out := &sink{w: env.Out}
	env.Out = out
	err := dispatch(ctx, env, words)
	if err == nil && out.err != nil {
		err = fmt.Errorf("writing the result: %w", out.err)
	}
	if err != nil {
		fmt.Fprint(env.Err, exit.Message(ctx, err))
	}
	return exit.Code(ctx, err)
}

func dispatch(ctx context.Context, env *command.Environment, words []string) error {
	root := newApp(env)
	if n := len(words) - 1; n >= 0 && words[n] == command.CompletionMark {
		return complete(ctx, env, root, words[:n])
	}
	line, err := commandline.Parse(root, words)
	if err != nil {
		return err
	}
	if len(line.Command.Subcommands) > 0 && !line.Help && !line.AsksVersion() {
		return &exit.UsageError{Why: strings.TrimPrefix(strings.Join(line.Path, " ")+": a command is missing", ": "),
			Remedy: commandline.HelpHint(line.Path)}
	}
	return root.RunContext(ctx, line.Words())
}

// newApp builds the tree of commands. It is built for each run, because the flags of urfave/cli
// keep state.
func newApp(env *command.Environment) *cli.App {
	root := &cli.App{
		Name:  "thinctl",
		Usage: "manage thin pools, volumes, images and containers on device mapper",
		Description: "thinctl creates thin pools on sparse files or block devices, and thin volumes and snapshots in them. " +
			"Image layers and containers are thin volumes. " +
			"Sizes take the suffixes K, M, G, T and P, which are powers of 1024; sizes of images, layers and containers " +
			"are printed as Docker prints them, in powers of 1000. " +
			"Flags may come before or after arguments. " +
			"Write a volume as POOL NAME or POOL/NAME, and an image by its name or the beginning of its id.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 already exists, 5 in use, 6 unhealthy, " +
			"7 missing privilege or kernel feature, 130 interrupted.",
		Flags: globalFlags(),
		Commands: []*cli.Command{
			pool.Commands(env), volume.Commands(env), layer.Commands(env), container.Commands(env), image.Commands(env),
			metadata.Commands(env), metrics.Command(env), serve.Command(env), config.Commands(env), explain.Command(env),
			doctor.Command(env), completion.Command(env), version.Command(env),
			docs.Command(env, func() *cli.App { return newApp(env) }),
		},
		Writer:               env.Out,
		ErrWriter:            env.Err,
		HideHelpCommand:      true,
		HideVersion:          true,
		EnableBashCompletion: true,
		ExitErrHandler:       func(*cli.Context, error) {},
		OnUsageError:         commandline.AsUsageError,
		Action: env.Action(func(c *command.Call) error { // reached only with --version
			return version.Show(c)
		}),
	}
	commandline.Prepare(root.Commands, root.Name)
	return root
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "root", Value: thinpool.Root, EnvVars: []string{"THINCTL_ROOT"},
			Usage: "`DIRECTORY` of the pools"},
		&cli.BoolFlag{Name: "json", EnvVars: []string{"THINCTL_JSON"}, Usage: "print the result as JSON"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, EnvVars: []string{"THINCTL_TIMEOUT"},
			Usage: "give up after this `TIME`; 0 means never, the default of commands that transfer images"},
		&cli.DurationFlag{Name: "busy-timeout", Value: thinpool.BusyTimeout,
			Usage: "wait this `TIME` until other processes close a device that is to be removed; 0 means no wait (also " +
				"THINCTL_BUSY_TIMEOUT, or busy_timeout in the configuration)"},
		&cli.StringFlag{Name: "log-level", Value: "warn", EnvVars: []string{"THINCTL_LOG_LEVEL"},
			Usage: "log messages of this `LEVEL` and above: debug, info, warn or error"},
		&cli.BoolFlag{Name: "no-color", Usage: "print without colors, like NO_COLOR"},
		&cli.BoolFlag{Name: "version", Usage: "print the version"},
	}
}

// sink remembers the first failure of a writer. A command whose result was not written fails.
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
