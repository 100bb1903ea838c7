// Package metadata has the commands about the metadata of any dm-thin pool.
package metadata

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
)

// Commands work on the metadata of any dm-thin pool, ours or not, in a
// device or in a file. Nothing is written to it; restore and repair write to
// another.
func Commands(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "metadata",
		Usage: "read, check and rebuild the metadata of any thin pool",
		Description: "FILE is the metadata device of a pool, or a copy of one; the pool may also be of another program, such as LVM. " +
			"A device that an active pool uses can only be read with --held.",
		Subcommands: []*cli.Command{showCommand(a), checkCommand(a), usageCommand(a), ownersCommand(a), mapCommand(a), deltaCommand(a),
			dumpCommand(a), restoreCommand(a), repairCommand(a)},
		BashComplete: a.Completer(nil),
	}
}

func heldFlag() cli.Flag {
	return &cli.BoolFlag{Name: "held", Usage: "read the metadata snapshot that the pool holds"}
}
