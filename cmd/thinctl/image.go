package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/units"
)

func (a *app) imageCommands() *cli.Command {
	return &cli.Command{
		Name:  "image",
		Usage: "load, make and keep images",
		Subcommands: []*cli.Command{
			a.imageLoad(), a.imageSave(), a.imagePull(), a.imagePush(), a.imageImport(), a.imageList(), a.imageHistory(), a.imageInspect(),
			a.imageTree(), a.imageDigest(), a.imageTag(), a.imageRemove(), a.imagePrune(),
		},
		BashComplete: a.completer(nil),
	}
}

// imageView is an image in JSON.
type imageView struct {
	// ID is what Docker knows the image by; a committed image has none until it
	// is asked for.
	ID      string    `json:"id,omitempty"`
	Key     string    `json:"key"`
	Names   []string  `json:"names"`
	Parent  string    `json:"parent,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Loaded  time.Time `json:"loaded"`
	Layers  []string  `json:"layers"`
	shown   string
}

func newImageView(i images.Image) imageView {
	v := imageView{Key: i.Key, Names: familiar(i.Names), Parent: i.Parent, Created: i.Created.UTC(), Loaded: i.Loaded.UTC(), Layers: append([]string{}, i.Layers...), shown: i.Shown()}
	if i.ID != "" {
		v.ID = "sha256:" + i.ID
	}
	return v
}

// full is the image's id in full: as Docker's where it has one.
func (v imageView) full() string {
	if v.ID != "" {
		return v.ID
	}
	return v.Key
}

// shortID is the short form of the id that is shown.
func (v imageView) shortID() string { return shortID(v.shown) }

// measuredImage is an image with what it takes.
type measuredImage struct {
	imageView
	// Size is the sum of its layers' sizes: Docker's virtual size.
	Size       units.Bytes  `json:"size_bytes"`
	Exclusive  *units.Bytes `json:"exclusive_bytes"`
	Containers int          `json:"containers"`
}

func newMeasuredImage(s images.Summary, known bool) measuredImage {
	v := measuredImage{imageView: newImageView(s.Image), Size: s.Size, Containers: s.Containers}
	if known {
		v.Exclusive = &s.Exclusive
	}
	return v
}

// oneImage is the result of a command that is about one image.
type oneImage struct {
	poolHead
	Image imageView `json:"image"`
}

// showImage writes the image's id: the whole result of a command that made it.
func (c *call) showImage(store *images.Store, image images.Image) error {
	view := oneImage{headOf(store), newImageView(image)}
	return c.show(struct {
		oneImage
		warnedView
	}{view, c.warned()}, func(w io.Writer) { fmt.Fprintln(w, view.Image.full()) })
}

// summaries returns all images with what they take, as far as that is known.
func (c *call) summaries(store *images.Store, exclusive bool) ([]measuredImage, error) {
	var summaries []images.Summary
	var err error
	known := exclusive
	if exclusive {
		done := c.readingSizes(store)
		summaries, err = store.Summaries(c.ctx, true)
		done()
		if err != nil {
			if err := c.unmeasured(err); err != nil {
				return nil, err
			}
			known = false
		}
	}
	if !known {
		if summaries, err = store.Summaries(c.ctx, false); err != nil {
			return nil, err
		}
	}
	views := []measuredImage{}
	for _, s := range summaries {
		views = append(views, newMeasuredImage(s, known))
	}
	return views, nil
}

// identified computes an image's id where it is not known yet.
func (c *call) identified(store *images.Store, image images.Image) (images.Image, error) {
	if image.ID != "" {
		return image, nil
	}
	done := c.progress("computing the digests of %s", image)
	defer done()
	return store.Digest(c.ctx, image.Key)
}
