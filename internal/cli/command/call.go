package command

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/exit"
	"thinctl/thinpool"
)

// Call is one run of a command.
type Call struct {
	*Environment
	Ctx    context.Context
	Flags  *cli.Context
	Args   []string
	Logger *slog.Logger
	Host   thinpool.Host // set by onHost

	warnings warnings
}

// limit returns the context of the command with its timeout.
func (c *Call) limit(long bool) (context.Context, context.CancelFunc, error) {
	timeout := c.Flags.Duration("timeout")
	switch {
	case timeout < 0:
		return nil, nil, &exit.UsageError{Why: fmt.Sprintf("--timeout %s is negative", timeout),
			Remedy: "use a duration such as 90s, or 0 for no limit"}
	case timeout == 0, long && !c.Flags.IsSet("timeout"):
		ctx, cancel := context.WithCancel(c.Ctx)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(c.Ctx, timeout)
	return ctx, cancel, nil
}

// takeArgs checks the number of arguments and splits POOL/NAME.
func (c *Call) takeArgs() error {
	names := c.argNames()
	if len(names) > 1 && names[0] == "POOL" {
		c.Args = splitAddress(c.Args, names)
	}
	least, most := 0, len(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "[") {
			least++
		}
		if strings.HasSuffix(strings.TrimSuffix(name, "]"), "...") {
			most = len(c.Args)
		}
	}
	if n := len(c.Args); n < least {
		return c.Misuse("%s is missing", strings.TrimSuffix(names[n], "..."))
	} else if n > most {
		return c.Misuse("unexpected argument %q", c.Args[most])
	}
	return nil
}

// argNames returns the names of the arguments in the help text of the command.
func (c *Call) argNames() []string { return strings.Fields(c.Flags.Command.ArgsUsage) }

// splitAddress turns "vault/base" into two words, and drops a "vault/" that later words repeat. It
// leaves paths and images alone. Names of pools, volumes, layers and containers have no slash.
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
		if !mayHaveSlash(names[min(len(split), len(names)-1)]) {
			arg = strings.TrimPrefix(arg, pool+"/")
		}
		split = append(split, arg)
	}
	return split
}

// mayHaveSlash reports whether the values of an argument may have slashes.
func mayHaveSlash(name string) bool {
	switch strings.Trim(name, "[].") {
	case "IMAGE", "NEWNAME", "FILE", "DIR":
		return true
	}
	return false
}

// Misuse returns a usage error of the command, with its usage line.
func (c *Call) Misuse(format string, args ...any) error {
	name := c.name()
	return &exit.UsageError{
		Why: name + ": " + fmt.Sprintf(format, args...),
		Remedy: strings.TrimSpace("usage: thinctl "+name+" [flags] "+c.Flags.Command.ArgsUsage) + ", " +
			commandline.HelpHint(strings.Fields(name)),
	}
}

// Arg returns an argument, "" if it was left out.
func (c *Call) Arg(n int) string {
	if n < len(c.Args) {
		return c.Args[n]
	}
	return ""
}

// name returns the name of the command with its noun: "pool destroy".
func (c *Call) name() string { return commandline.CommandName(c.Flags.Command) }

// Root returns the directory of the pools.
func (c *Call) Root() string { return c.Flags.String("root") }
