package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
)

// complete prints proposals, one on each line.
func complete(ctx context.Context, env *command.Environment, root *cli.App, words []string) error {
	if len(words) > 0 {
		env.Completing = words[len(words)-1]
		words = words[:len(words)-1]
	}
	line := commandline.ParseUnfinished(root, words)
	switch {
	case line.Open != nil:
		env.Propose(flagValues(line.Open.Names()[0])...)
	case strings.HasPrefix(env.Completing, "-"):
		for _, flag := range slices.Concat(line.Command.Flags, root.Flags) {
			env.Propose("--" + flag.Names()[0])
		}
		env.Propose("--help")
	case len(line.Command.Subcommands) > 0:
		for _, command := range line.Command.VisibleCommands() {
			env.Propose(command.Name)
		}
	default:
		run := slices.Concat([]string{"thinctl"}, line.Globals, line.Path, line.Args, []string{command.CompletionMark})
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_ = root.RunContext(ctx, run)
	}
	return nil
}

func flagValues(name string) []string {
	switch name {
	case "fs":
		return []string{"ext4", "xfs"}
	case "format":
		return []string{"docker", "oci"}
	case "full":
		return []string{"queue", "error"}
	case "log-format":
		return []string{"text", "json"}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	}
	return nil
}
