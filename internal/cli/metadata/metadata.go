// Package metadata has the commands about the metadata of any dm-thin pool.
package metadata

import (
	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
)

// Commands returns the commands on the metadata of any dm-thin pool, in a device or in a file.
// They do not write to it; restore and repair write to another file or device.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "metadata",
		Usage: "read, check and rebuild the metadata of any thin pool",
		Description: "FILE is the metadata device of a pool, or a copy of one; the pool may also be of another " +
			"program, such as LVM. " +
			"A device that an active pool uses can only be read with --held.",
		Subcommands: []*cli.Command{showCommand(env), checkCommand(env), usageCommand(env), ownersCommand(env),
			mapCommand(env), deltaCommand(env),
			dumpCommand(env), restoreCommand(env), repairCommand(env)},
		BashComplete: env.Completer(nil),
	}
}

func heldFlag() cli.Flag {
	return &cli.BoolFlag{Name: "held", Usage: "read the metadata snapshot that the pool holds"}
}
