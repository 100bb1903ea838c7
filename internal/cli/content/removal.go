package content

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/units"
)

// removalView is the JSON of a removal of images and layers.
type removalView struct {
	output.PoolHead
	DryRun   bool              `json:"dry_run"`
	Untagged []string          `json:"untagged"`
	Images   []ImageView       `json:"images"`
	Layers   []string          `json:"layers"`      // child first
	Kept     map[string]string `json:"kept"`        // layer -> its user
	Freed    *units.Bytes      `json:"freed_bytes"` // null if the metadata cannot be read
	Waiting  bool              `json:"waiting"`
}

func newRemovalView(store *images.Store, r images.Removal, dryRun bool) removalView {
	v := removalView{PoolHead: command.HeadOf(store), DryRun: dryRun, Untagged: command.Familiar(r.Untagged),
		Images: []ImageView{}, Layers: append([]string{}, r.Layers...),
		Kept: map[string]string{}, Freed: r.Freed, Waiting: r.Waiting}
	for _, image := range r.Images {
		v.Images = append(v.Images, NewImageView(image))
	}
	for id, who := range r.Kept {
		v.Kept[id] = who
	}
	return v
}

func (v removalView) write(w io.Writer) {
	untagged, deleted, back := "Untagged", "Deleted", "freed"
	if v.DryRun {
		untagged, deleted, back = "Would untag", "Would delete", "would be freed"
	}
	for _, name := range v.Untagged {
		fmt.Fprintf(w, "%s: %s\n", untagged, name)
	}
	for _, image := range v.Images {
		fmt.Fprintf(w, "%s: %s\n", deleted, image.Full())
	}
	for _, id := range v.Layers {
		fmt.Fprintf(w, "%s: layer %s\n", deleted, id)
	}
	if v.DryRun {
		for _, id := range output.SortedKeys(v.Kept) {
			fmt.Fprintf(w, "Kept: layer %s, for %s\n", id, v.Kept[id])
		}
	}
	switch {
	case len(v.Images)+len(v.Layers) == 0:
	case v.Waiting:
		fmt.Fprintf(w, "%s will be freed when it is no longer in use\n", output.AmountOf(v.Freed))
	default:
		fmt.Fprintf(w, "%s %s\n", output.AmountOf(v.Freed), back)
	}
}

// prompt returns the question that is asked before the removal.
func (v removalView) prompt() string {
	var what []string
	for _, image := range v.Images {
		what = append(what, "image "+image.ShortID())
	}
	if len(v.Layers) > 0 {
		what = append(what, output.Plural(len(v.Layers), "layer"))
	}
	return fmt.Sprintf("This removes %s of pool %s; %s will be freed.", strings.Join(what, ", "), v.Pool,
		output.AmountOf(v.Freed))
}

// Remove plans a removal, shows the plan, asks for confirmation and removes.
func Remove(c *command.Call, store *images.Store, plan, do func() (images.Removal, error)) error {
	done := c.ReadingSizes(store)
	planned, err := plan()
	done()
	if err != nil {
		return err
	}
	if planned.Unmeasured != nil {
		c.Logger.Warn("the space that will be freed is unknown", "error", planned.Unmeasured)
	}
	view := newRemovalView(store, planned, c.Flags.Bool("dry-run"))
	if view.DryRun {
		return c.Show(view, view.write)
	}
	if len(view.Images)+len(view.Layers) > 0 { // removing only a name loses nothing
		if err := c.Confirm(view.prompt(), "yes"); err != nil {
			return err
		}
	}
	done = c.Progress("removing from pool %s", view.Pool)
	removed, err := do()
	done()
	if err != nil && len(removed.Layers) == 0 {
		return err // after a removal it is the reason why blocks are not free yet
	}
	removed.Freed = planned.Freed
	view = newRemovalView(store, removed, false)
	return errors.Join(err, c.Show(view, view.write))
}

// Prune removes unused images or layers.
func Prune(c *command.Call, store *images.Store, o images.PruneOptions) error {
	return Remove(c, store,
		func() (images.Removal, error) { return store.PlanPrune(c.Ctx, o) },
		func() (images.Removal, error) { return store.Prune(c.Ctx, o) })
}
