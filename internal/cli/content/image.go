// Package content has what the image, layer and container commands share.
package content

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/commandline"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
)

// ImageView is the JSON of an image.
type ImageView struct {
	// ID is the id that Docker uses; the id of a committed image is computed when it is first
	// needed.
	ID      string    `json:"id,omitempty"`
	Key     string    `json:"key"`
	Names   []string  `json:"names"`
	Parent  string    `json:"parent,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Loaded  time.Time `json:"loaded"`
	Layers  []string  `json:"layers"`
	shown   string
}

// NewImageView returns the JSON of an image.
func NewImageView(i images.Image) ImageView {
	v := ImageView{Key: i.Key, Names: command.Familiar(i.Names), Parent: i.Parent, Created: i.Created.UTC(),
		Loaded: i.Loaded.UTC(), Layers: append([]string{}, i.Layers...), shown: i.Shown()}
	if i.ID != "" {
		v.ID = "sha256:" + i.ID
	}
	return v
}

// Full returns Docker's id with its algorithm, or the key of an image without one.
func (v ImageView) Full() string {
	if v.ID != "" {
		return v.ID
	}
	return v.Key
}

// ShortID returns the short form of the id that is printed.
func (v ImageView) ShortID() string { return output.ShortID(v.shown) }

// OneImage is the result of a command on one image.
type OneImage struct {
	output.PoolHead
	Image ImageView `json:"image"`
}

// ShowImage prints the id of an image, the result of a command that created it.
func ShowImage(c *command.Call, store *images.Store, image images.Image) error {
	view := OneImage{command.HeadOf(store), NewImageView(image)}
	return c.Show(struct {
		OneImage
		command.WarnedView
	}{view, c.Warned()}, func(w io.Writer) { fmt.Fprintln(w, view.Image.Full()) })
}

// Identified computes the id of an image that has none.
func Identified(c *command.Call, store *images.Store, image images.Image) (images.Image, error) {
	if image.ID != "" {
		return image, nil
	}
	done := c.Progress("computing the digests of %s", image)
	defer done()
	return store.Digest(c.Ctx, image.Key)
}

// ChangeFlag returns --change.
func ChangeFlag() cli.Flag {
	return commandline.StringsFlag("change", "c",
		"apply this Dockerfile `INSTRUCTION` to the config: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME "+
			"or WORKDIR; may be repeated")
}

// MessageFlag returns --message.
func MessageFlag() cli.Flag {
	return &cli.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "`TEXT` for the image's history"}
}
