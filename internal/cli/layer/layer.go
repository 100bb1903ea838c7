// Package layer has the commands about layers.
package layer

import (
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/snapshots"
	"thinctl/units"
)

func Commands(a *command.Environment) *cli.Command {
	return &cli.Command{
		Name:         "layer",
		Usage:        "list, compare and remove the layers of images",
		Subcommands:  []*cli.Command{listCommand(a), treeCommand(a), diffCommand(a), removeCommand(a)},
		BashComplete: a.Completer(nil),
	}
}

// layerView is a layer, or the init over one, in JSON.
type layerView struct {
	ID     string `json:"id"` // an init's is its layer's and -init
	Parent string `json:"parent,omitempty"`
	// Base is the init that a committed layer is the difference to.
	Base    string      `json:"base,omitempty"`
	Init    bool        `json:"init"`
	DiffID  string      `json:"diff_id,omitempty"`
	ChainID string      `json:"chain_id,omitempty"`
	Created time.Time   `json:"created,omitzero"`
	FS      string      `json:"file_system"`
	Volume  string      `json:"volume"`
	Virtual units.Bytes `json:"volume_bytes"`
	// Size is the sum of the sizes of the files that the layer brought; of a
	// committed one null until they have been counted.
	Size    *units.Bytes `json:"size_bytes"`
	Entries int          `json:"entries"`
	// Own are the blocks that differ from the parent's.
	Own       *units.Bytes `json:"own_bytes"`
	Mapped    *units.Bytes `json:"mapped_bytes"`
	Exclusive *units.Bytes `json:"exclusive_bytes"`
	Images    []string     `json:"images"` // keys of those that have it
}

func newLayerView(l snapshots.Layer, size snapshots.Size, known bool) layerView {
	v := layerView{ID: l.ID, Parent: l.Parent, DiffID: l.DiffID, ChainID: l.ChainID, Created: l.Created.UTC(), FS: string(l.FS),
		Volume: snapshots.LayerVolume(l.ID), Virtual: l.Volume, Entries: l.Entries, Images: []string{}}
	if l.Base != "" {
		v.Base = l.Base + content.InitSuffix
	}
	if l.DiffID != "" {
		v.Size = &l.Size
	}
	v.measure(size, known)
	return v
}

func newInitView(i snapshots.Init, size snapshots.Size, known bool) layerView {
	v := layerView{ID: i.Key + content.InitSuffix, Parent: i.Layer, Init: true, Created: i.Created.UTC(), FS: string(i.FS),
		Volume: snapshots.InitVolume(i.Key), Virtual: i.Volume, Images: []string{}}
	v.measure(size, known)
	return v
}

func (v *layerView) measure(size snapshots.Size, known bool) {
	if known {
		v.Own, v.Mapped, v.Exclusive = &size.Own, &size.Mapped, &size.Exclusive
	}
}
