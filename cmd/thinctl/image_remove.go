package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/units"
)

func (a *app) imageRemove() *cli.Command {
	return a.leaf(leaf{
		name: "remove", args: "POOL IMAGE...", usage: "take names away, and remove images that have none left",
		about: "Layers go that nobody else needs. An image given by its id goes with its name; one with several names only with --force. " +
			"One that a container was made of stays. Works where the pool or the host is full.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "remove an image by its id that has several names"}, yesFlag(), dryRunFlag()},
		run:   (*call).removeImages, complete: (*call).imageWords,
	})
}

func (a *app) imagePrune() *cli.Command {
	return a.leaf(leaf{
		name: "prune", args: "POOL", usage: "remove what nobody can want any more",
		about: "That are images without a name that no container was made of, and layers that no image has: a load that failed leaves such.",
		flags: []cli.Flag{yesFlag(), dryRunFlag()},
		run:   (*call).pruneImages, complete: (*call).poolNames,
	})
}

// goneView is what images and layers are removed, or would be.
type goneView struct {
	poolHead
	DryRun   bool              `json:"dry_run"`
	Untagged []string          `json:"untagged"`
	Images   []imageView       `json:"images"`
	Layers   []string          `json:"layers"`      // child first
	Kept     map[string]string `json:"kept"`        // layer -> who needs it
	Freed    *units.Bytes      `json:"freed_bytes"` // null where the metadata cannot be read
	Waiting  bool              `json:"waiting"`
}

func newGoneView(store *images.Store, r images.Removal, dryRun bool) goneView {
	v := goneView{poolHead: headOf(store), DryRun: dryRun, Untagged: familiar(r.Untagged), Images: []imageView{}, Layers: append([]string{}, r.Layers...),
		Kept: map[string]string{}, Freed: r.Freed, Waiting: r.Waiting}
	for _, image := range r.Images {
		v.Images = append(v.Images, newImageView(image))
	}
	for id, who := range r.Kept {
		v.Kept[id] = who
	}
	return v
}

func (v goneView) write(w io.Writer) {
	untagged, deleted, back := "Untagged", "Deleted", "came back"
	if v.DryRun {
		untagged, deleted, back = "Would untag", "Would delete", "would come back"
	}
	for _, name := range v.Untagged {
		fmt.Fprintf(w, "%s: %s\n", untagged, name)
	}
	for _, image := range v.Images {
		fmt.Fprintf(w, "%s: %s\n", deleted, image.full())
	}
	for _, id := range v.Layers {
		fmt.Fprintf(w, "%s: layer %s\n", deleted, id)
	}
	if v.DryRun {
		for _, id := range sortedKeys(v.Kept) {
			fmt.Fprintf(w, "Kept: layer %s, for %s\n", id, v.Kept[id])
		}
	}
	switch {
	case len(v.Images)+len(v.Layers) == 0:
	case v.Waiting:
		fmt.Fprintf(w, "%s comes back when those who use it have left\n", amountOf(v.Freed))
	default:
		fmt.Fprintf(w, "%s %s\n", amountOf(v.Freed), back)
	}
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// prompt says what would be lost.
func (v goneView) prompt() string {
	var what []string
	for _, image := range v.Images {
		what = append(what, "image "+image.shortID())
	}
	if len(v.Layers) > 0 {
		what = append(what, plural(len(v.Layers), "layer"))
	}
	return fmt.Sprintf("This removes %s of pool %s; %s will come back.", strings.Join(what, ", "), v.Pool, amountOf(v.Freed))
}

// removal carries out a removal as every command does: planned, shown, asked for.
func (c *call) removal(store *images.Store, plan, do func() (images.Removal, error)) error {
	done := c.readingSizes(store)
	planned, err := plan()
	done()
	if err != nil {
		return err
	}
	if planned.Unmeasured != nil {
		c.logger.Warn("what will come back is not known", "error", planned.Unmeasured)
	}
	view := newGoneView(store, planned, c.flags.Bool("dry-run"))
	if view.DryRun {
		return c.show(view, view.write)
	}
	if len(view.Images)+len(view.Layers) > 0 { // a name alone is no loss
		if err := c.confirm(view.prompt(), "yes"); err != nil {
			return err
		}
	}
	done = c.progress("removing from pool %s", view.Pool)
	removed, err := do()
	done()
	if err != nil && len(removed.Layers) == 0 {
		return err // with layers gone it says why their blocks are not back yet
	}
	removed.Freed = planned.Freed
	view = newGoneView(store, removed, false)
	return errors.Join(err, c.show(view, view.write))
}

func (c *call) removeImages() error {
	o := images.RemoveOptions{Force: c.flags.Bool("force")}
	texts := c.args[1:]
	return c.onImages(func(store *images.Store) error {
		return c.removal(store,
			func() (images.Removal, error) { return store.PlanRemoval(c.ctx, texts, o) },
			func() (images.Removal, error) { return store.Remove(c.ctx, texts, o) })
	})
}

func (c *call) pruneImages() error {
	return c.onImages(func(store *images.Store) error { return c.prune(store, images.PruneOptions{Images: true}) })
}

func (c *call) prune(store *images.Store, o images.PruneOptions) error {
	return c.removal(store,
		func() (images.Removal, error) { return store.PlanPrune(c.ctx, o) },
		func() (images.Removal, error) { return store.Prune(c.ctx, o) })
}
