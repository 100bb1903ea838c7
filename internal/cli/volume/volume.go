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

func Commands(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "create and use thin volumes and snapshots",
		Subcommands: []*cli.Command{
			createCommand(a), snapshotCommand(a), listCommand(a), statusCommand(a), mapCommand(a), deltaCommand(a), resizeCommand(a),
			activateCommand(a), deactivateCommand(a), mountCommand(a), unmountCommand(a), removeCommand(a),
		},
		BashComplete: a.Completer(nil),
	}
}

// volumeView is a volume in JSON.
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
	For          string      `json:"for,omitempty"` // "" is the user's own
}

func newVolumeView(pool string, v thinpool.Volume) volumeView {
	view := volumeView{Pool: pool, Name: v.Name, ID: v.ID, SizeBytes: v.Size, Origin: v.Origin, Created: v.Created.UTC(), Active: v.Active, Node: v.Node, For: v.For}
	if v.Active {
		view.DeviceNumber = v.Dev.String()
	}
	return view
}

// oneVolume is the result of a command that is about one volume.
type oneVolume struct {
	output.Envelope
	DryRun bool       `json:"dry_run,omitempty"`
	Volume volumeView `json:"volume"`
}
