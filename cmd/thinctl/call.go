package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
)

// call is one command being carried out.
type call struct {
	*app
	ctx    context.Context
	flags  *cli.Context
	args   []string
	logger *slog.Logger
	host   thinpool.Host // set by onHost

	warnings warnings
}

// leaf describes a command that does something.
type leaf struct {
	name  string
	args  string // "POOL NAME [DIR]"; a trailing ... takes any number
	usage string
	about string
	flags []cli.Flag
	run   func(*call) error
	// complete proposes words for the argument that comes after args.
	complete func(c *call) []string
	hidden   bool
	// long commands move whole images: they end when nothing comes any more, and
	// after a time only where one was asked for.
	long bool
}

// short is what Docker's and LVM's users type.
func short(name string) []string {
	switch name {
	case "list":
		return []string{"ls"}
	case "remove":
		return []string{"rm"}
	}
	return nil
}

func (a *app) leaf(l leaf) *cli.Command {
	return &cli.Command{
		Name: l.name, Aliases: short(l.name), ArgsUsage: l.args, Usage: l.usage, Description: l.about, Flags: l.flags, Hidden: l.hidden,
		Action: a.action(func(c *call) error {
			if err := c.takeArgs(); err != nil {
				return err
			}
			ctx, cancel, err := c.limit(l.long)
			if err != nil {
				return err
			}
			defer cancel()
			c.ctx = ctx
			defer c.writeWarnings()
			return l.run(c)
		}),
		BashComplete: a.completer(l.complete),
	}
}

// action makes the call that a command works with.
func (a *app) action(run func(*call) error) cli.ActionFunc {
	return func(flags *cli.Context) error {
		c := &call{app: a, ctx: flags.Context, flags: flags, args: flags.Args().Slice()}
		var level slog.Level
		if err := level.UnmarshalText([]byte(flags.String("log-level"))); err != nil {
			return &usageError{why: fmt.Sprintf("log level %q is not known", flags.String("log-level")), remedy: "use debug, info, warn or error"}
		}
		c.logger = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
		return run(c)
	}
}

// limit is the command's context with its timeout.
func (c *call) limit(long bool) (context.Context, context.CancelFunc, error) {
	timeout := c.flags.Duration("timeout")
	switch {
	case timeout < 0:
		return nil, nil, &usageError{why: fmt.Sprintf("timeout %s is negative", timeout), remedy: "give a duration such as 90s, or 0 for no limit"}
	case timeout == 0, long && !c.flags.IsSet("timeout"):
		ctx, cancel := context.WithCancel(c.ctx)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	return ctx, cancel, nil
}

// takeArgs checks the number of arguments, and takes POOL/NAME apart.
func (c *call) takeArgs() error {
	names := c.argNames()
	if len(names) > 1 && names[0] == "POOL" {
		c.args = splitAddress(c.args, names)
	}
	least, most := 0, len(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "[") {
			least++
		}
		if strings.HasSuffix(strings.TrimSuffix(name, "]"), "...") {
			most = len(c.args)
		}
	}
	if n := len(c.args); n < least {
		return c.misuse("%s is missing", strings.TrimSuffix(names[n], "..."))
	} else if n > most {
		return c.misuse("unexpected argument %q", c.args[most])
	}
	return nil
}

// argNames are what the command calls its arguments.
func (c *call) argNames() []string { return strings.Fields(c.flags.Command.ArgsUsage) }

// splitAddress turns "vault/base" into two words, and drops a "vault/" that
// later words repeat, unless they are a path's or an image's: neither pools nor
// volumes, layers and containers have a slash in their names.
func splitAddress(args, names []string) []string {
	if len(args) == 0 {
		return args
	}
	pool, volume, slashed := strings.Cut(args[0], "/")
	split := []string{pool}
	if slashed {
		split = append(split, volume)
	}
	for _, arg := range args[1:] {
		if !slashes(names[min(len(split), len(names)-1)]) {
			arg = strings.TrimPrefix(arg, pool+"/")
		}
		split = append(split, arg)
	}
	return split
}

// slashes tells whether what an argument stands for may have slashes in it.
func slashes(name string) bool {
	switch strings.Trim(name, "[].") {
	case "IMAGE", "NEWNAME", "FILE", "DIR":
		return true
	}
	return false
}

func (c *call) misuse(format string, args ...any) error {
	name := c.name()
	return &usageError{
		why:    name + ": " + fmt.Sprintf(format, args...),
		remedy: strings.TrimSpace("usage: thinctl "+name+" [flags] "+c.flags.Command.ArgsUsage) + ", " + helpHint(strings.Fields(name)),
	}
}

// arg returns an argument, "" where it was left out.
func (c *call) arg(n int) string {
	if n < len(c.args) {
		return c.args[n]
	}
	return ""
}

// name is the command's, with its noun: "pool destroy".
func (c *call) name() string { return commandName(c.flags.Command) }

func (c *call) root() string { return c.flags.String("root") }

// onHost runs do with the host opened.
func (c *call) onHost(do func() error) (err error) {
	if c.euid() != 0 {
		return failed(errNoRoot, "%s needs root: run it with sudo", c.name())
	}
	host, closer, err := c.app.host(c.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	c.host = host
	if c.host.BusyTimeout, err = c.busyTimeout(); err != nil {
		return err
	}
	return do()
}

// onPool runs do with the pool of that name opened.
func (c *call) onPool(name string, do func(*thinpool.Pool) error) error {
	return c.onHost(func() (err error) {
		pool, err := thinpool.Open(c.ctx, c.host, c.root(), name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, pool.Close(context.WithoutCancel(c.ctx))) }()
		return do(pool)
	})
}

// onPools runs do on the pool of that name, or on all where it is "". It goes
// on after a pool that fails.
func (c *call) onPools(name string, do func(*thinpool.Pool) error) error {
	if name != "" {
		return c.onPool(name, do)
	}
	return c.onHost(func() error {
		names, err := thinpool.List(c.root())
		if err != nil {
			return fmt.Errorf("list the pools of %s: %w", c.root(), err)
		}
		var faults []error
		for _, name := range names {
			pool, err := thinpool.Open(c.ctx, c.host, c.root(), name)
			if err == nil {
				err = errors.Join(do(pool), pool.Close(context.WithoutCancel(c.ctx)))
			}
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	})
}
