// Package layer has the commands about layers.
package layer

import (
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/layers"
	"thinctl/units"
)

// Commands returns `thinctl layer` with its commands.
func Commands(env *command.Environment) *cli.Command {
	return &cli.Command{
		Name:         "layer",
		Usage:        "list, compare and remove the layers of images",
		Subcommands:  []*cli.Command{listCommand(env), treeCommand(env), diffCommand(env), removeCommand(env)},
		BashComplete: env.Completer(nil),
	}
}

// layerView is the JSON of a layer or of an init layer.
type layerView struct {
	ID     string `json:"id"` // of an init layer: its layer's id and -init
	Parent string `json:"parent,omitempty"`
	// Base is the init layer that a committed layer is compared with.
	Base    string      `json:"base,omitempty"`
	Init    bool        `json:"init"`
	DiffID  string      `json:"diff_id,omitempty"`
	ChainID string      `json:"chain_id,omitempty"`
	Created time.Time   `json:"created,omitzero"`
	FS      string      `json:"file_system"`
	Volume  string      `json:"volume"`
	Virtual units.Bytes `json:"volume_bytes"`
	// Size is the sum of the sizes of the files in the layer; null of a committed layer until they
	// are counted.
	Size    *units.Bytes `json:"size_bytes"`
	Entries int          `json:"entries"`
	// Own is the space that differs from the parent.
	Own       *units.Bytes `json:"own_bytes"`
	Mapped    *units.Bytes `json:"mapped_bytes"`
	Exclusive *units.Bytes `json:"exclusive_bytes"`
	Images    []string     `json:"images"` // keys of the images that use it
}

func newLayerView(l layers.Layer, size layers.Size, known bool) layerView {
	v := layerView{ID: l.ID, Parent: l.Parent, DiffID: l.DiffID, ChainID: l.ChainID, Created: l.Created.UTC(),
		FS:     string(l.FS),
		Volume: layers.LayerVolume(l.ID), Virtual: l.Volume, Entries: l.Entries, Images: []string{}}
	if l.Base != "" {
		v.Base = l.Base + content.InitSuffix
	}
	if l.DiffID != "" {
		v.Size = &l.Size
	}
	v.measure(size, known)
	return v
}

func newInitView(i layers.Init, size layers.Size, known bool) layerView {
	v := layerView{ID: i.Key + content.InitSuffix, Parent: i.Layer, Init: true, Created: i.Created.UTC(), FS: string(i.FS),
		Volume: layers.InitVolume(i.Key), Virtual: i.Volume, Images: []string{}}
	v.measure(size, known)
	return v
}

func (v *layerView) measure(size layers.Size, known bool) {
	if known {
		v.Own, v.Mapped, v.Exclusive = &size.Own, &size.Mapped, &size.Exclusive
	}
}
