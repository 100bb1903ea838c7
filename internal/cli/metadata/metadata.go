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
		Description: "FILE is a metadata device or a copy of one, of thinctl's pools or of others, such as LVM's. " +
			"A device that an active pool uses is only read with --held.",
		Subcommands: []*cli.Command{showCommand(a), checkCommand(a), usageCommand(a), ownersCommand(a), mapCommand(a), deltaCommand(a),
			dumpCommand(a), restoreCommand(a), repairCommand(a)},
		BashComplete: a.Completer(nil),
	}
}

func heldFlag() cli.Flag {
	return &cli.BoolFlag{Name: "held", Usage: "read the metadata snapshot that the pool holds, active or not"}
}
