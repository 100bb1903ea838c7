package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/snapshots"
	"thinctl/units"
)

func (a *app) containerCommands() *cli.Command {
	return &cli.Command{
		Name:  "container",
		Usage: "make and use writable copies of images",
		Subcommands: []*cli.Command{
			a.containerCreate(), a.containerList(), a.containerMount(), a.containerUnmount(), a.containerDiff(), a.containerCommit(),
			a.containerExport(), a.containerRemove(),
		},
		BashComplete: a.completer(nil),
	}
}

// containerView is a container in JSON.
type containerView struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Image      string      `json:"image,omitempty"` // its key
	ImageName  string      `json:"image_name,omitempty"`
	Layer      string      `json:"layer,omitempty"`
	Init       string      `json:"init"`
	FileSystem string      `json:"file_system"`
	Volume     string      `json:"volume"`
	SizeBytes  units.Bytes `json:"volume_bytes"`
	MountLabel string      `json:"mount_label,omitempty"`
	Created    time.Time   `json:"created"`
}

func newContainerView(c snapshots.Container) containerView {
	return containerView{ID: c.ID, Name: c.Name, Image: c.Image, ImageName: c.ImageName, Layer: c.Layer, Init: c.Init + initSuffix,
		FileSystem: string(c.FS), Volume: snapshots.ContainerVolume(c.ID), SizeBytes: c.Size, MountLabel: c.MountLabel, Created: c.Created.UTC()}
}

// oneContainer is the result of a command that is about one container.
type oneContainer struct {
	poolHead
	Container containerView `json:"container"`
}
