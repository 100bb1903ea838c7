package command

import (
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/exit"
	"thinctl/internal/remedy"
)

// Spec describes a command.
type Spec struct {
	Name  string
	Args  string // "POOL NAME [DIR]"; a trailing ... means any number
	Usage string
	About string
	Flags []cli.Flag
	Run   func(*Call) error
	// Complete returns the proposals for the argument after those in Call.Args.
	Complete func(c *Call) []string
	Hidden   bool
	// Long commands transfer images. They have no timeout unless --timeout is given.
	Long bool
}

// aliases returns the short names that users of Docker and LVM type.
func aliases(name string) []string {
	switch name {
	case "list":
		return []string{"ls"}
	case "remove":
		return []string{"rm"}
	}
	return nil
}

// Command turns a spec into a command of urfave/cli.
func (a *Environment) Command(l Spec) *cli.Command {
	return &cli.Command{
		Name: l.Name, Aliases: aliases(l.Name), ArgsUsage: l.Args, Usage: l.Usage, Description: l.About, Flags: l.Flags,
		Hidden: l.Hidden,
		Action: a.Action(func(c *Call) error {
			if err := c.takeArgs(); err != nil {
				return err
			}
			ctx, cancel, err := c.limit(l.Long)
			if err != nil {
				return err
			}
			defer cancel()
			c.Ctx = ctx
			defer c.writeWarnings()
			return l.Run(c)
		}),
		BashComplete: a.Completer(l.Complete),
	}
}

// Action turns run into an action of urfave/cli.
func (a *Environment) Action(run func(*Call) error) cli.ActionFunc {
	return func(flags *cli.Context) error {
		c := &Call{Environment: a, Ctx: flags.Context, Flags: flags, Args: flags.Args().Slice()}
		var level slog.Level
		if err := level.UnmarshalText([]byte(flags.String("log-level"))); err != nil {
			return &exit.UsageError{Why: fmt.Sprintf("unknown log level %q", flags.String("log-level")),
				Remedy: "use debug, info, warn or error"}
		}
		c.Logger = slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: level, ReplaceAttr: remedy.LogAttr}))
		return run(c)
	}
}
