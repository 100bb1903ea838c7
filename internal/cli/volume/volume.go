// Package volume has the commands about volumes.
package volume

import (
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
	"thinctl/units"
)

// Commands returns `thinctl volume` with its commands.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "create and use thin volumes and snapshots",
		Subcommands: []*cli.Command{
			createCommand(env), snapshotCommand(env), listCommand(env), statusCommand(env), mapCommand(env),
			deltaCommand(env), resizeCommand(env),
			activateCommand(env), deactivateCommand(env), mountCommand(env), unmountCommand(env), removeCommand(env),
		},
		BashComplete: env.Completer(nil),
	}
}

// volumeView is the JSON of a volume.
type volumeView struct {
	Pool         string      `json:"pool"`
	Name         string      `json:"name"`
	ID           uint32      `json:"id"`
	SizeBytes    units.Bytes `json:"size_bytes"`
	Origin       string      `json:"origin,omitempty"`
	Created      time.Time   `json:"created"`
	Active       bool        `json:"active"`
	Node         string      `json:"node,omitempty"`
	DeviceNumber string      `json:"device_number,omitempty"`
	For          string      `json:"for,omitempty"` // "" for a volume of the user
}

func newVolumeView(pool string, v thinpool.Volume) volumeView {
	view := volumeView{Pool: pool, Name: v.Name, ID: v.ID, SizeBytes: v.Size, Origin: v.Origin,
		Created: v.Created.UTC(), Active: v.Active, Node: v.Node, For: v.For}
	if v.Active {
		view.DeviceNumber = v.Dev.String()
	}
	return view
}

// oneVolume is the result of a command on one volume.
type oneVolume struct {
	output.Envelope
	DryRun bool       `json:"dry_run,omitempty"`
	Volume volumeView `json:"volume"`
}
