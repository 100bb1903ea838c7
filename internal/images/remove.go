package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/thinpool"
	"thinctl/units"
)

// RemoveOptions change which images are removed.
type RemoveOptions struct {
	// Force allows to remove, by its id, an image with several names.
	Force bool
}

// Removal is the result or the plan of a removal.
type Removal struct {
	Untagged []reference.Reference
	Images   []Image
	Layers   []string          // child first
	Kept     map[string]string // the other layers of the images, with the object that needs each
	// Freed is the space that a planned removal frees. It is nil if the metadata cannot be
	// read, for the reason in Unmeasured. The removal is possible nevertheless.
	Freed      *units.Bytes
	Unmeasured error
	// Waiting is set if some space is freed only when processes have closed a volume.
	Waiting bool
}

// selection holds the names and images that are to be removed.
type selection struct {
	names  []reference.Reference
	images []Image
}

// PlanRemoval returns what Remove would do, and the space that it would free.
func (s *Store) PlanRemoval(ctx context.Context, texts []string, o RemoveOptions) (Removal, error) {
	what, err := s.selected(ctx, texts, o)
	if err != nil {
		return Removal{}, err
	}
	plan, err := s.layers.PlanRemoval(ctx, what.layers(),
		layers.RemovalOptions{Needed: neededWithout(what.keys()), Unused: true, Measure: true})
	removal := planned(plan)
	removal.Untagged, removal.Images = what.names, what.images
	return removal, err
}

func planned(p layers.Plan) Removal {
	return Removal{Layers: p.Layers, Kept: p.Kept, Freed: p.Freed, Unmeasured: p.Unmeasured}
}

func (s *Store) selected(ctx context.Context, texts []string, o RemoveOptions) (what selection, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		what, err = selectIn(tx, texts, o)
		return err
	})
	return what, err
}

// Remove removes names and images, in one transaction. An image is removed if it has no
// name left, or if it is given by its id, together with its layers that are not needed
// otherwise. Remove refuses an image that a container was made of.
func (s *Store) Remove(ctx context.Context, texts []string, o RemoveOptions) (Removal, error) {
	const tries = 10
	for n := 1; ; n++ {
		removal, err := s.remove(ctx, texts, o)
		if !errors.Is(err, errChanged) || n == tries {
			return removal, err
		}
	}
}

// errChanged is the error for a removal that needs more layers than were planned, for
// example because another name of an image was removed in the meantime.
var errChanged = errors.New("the images have changed in the meantime")

func (s *Store) remove(ctx context.Context, texts []string, o RemoveOptions) (Removal, error) {
	what, err := s.selected(ctx, texts, o)
	if err != nil {
		return Removal{}, err
	}
	ids := what.layers()
	removed, err := s.layers.RemoveLayers(ctx, ids, layers.RemovalOptions{
		Unused: true,
		Needed: func(tx *thinpool.Tx) (map[string]string, error) { return neededWithout(what.keys())(tx) },
		With: func(tx *thinpool.Tx) (err error) {
			if what, err = selectIn(tx, texts, o); err != nil {
				return err
			}
			if slices.ContainsFunc(what.layers(), func(id string) bool { return !slices.Contains(ids, id) }) {
				return errChanged
			}
			return what.deleteIn(tx)
		},
	})
	if err != nil && len(removed.Layers) == 0 {
		return Removal{}, err
	}
	return Removal{Untagged: what.names, Images: what.images, Layers: removed.Layers, Waiting: removed.Waiting},
		errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

// selectIn returns the names and images that the texts, which are names and ids, select.
func selectIn(tx *thinpool.Tx, texts []string, o RemoveOptions) (selection, error) {
	var what selection
	left := map[string][]reference.Reference{} // names that the images keep, by key
	for _, text := range texts {
		image, err := find(tx, text)
		if err != nil {
			return what, err
		}
		if _, seen := left[image.Key]; !seen {
			left[image.Key] = image.Names
		}
		name, err := reference.Parse(text)
		byName := err == nil && slices.Contains(image.Names, name)
		switch {
		case byName:
			if slices.Contains(what.names, name) {
				continue
			}
			what.names = append(what.names, name)
			left[image.Key] = slices.DeleteFunc(slices.Clone(left[image.Key]),
				func(n reference.Reference) bool { return n == name })
		case len(image.Names) > 1 && !o.Force:
			return what, &Error{Op: "remove", Object: "image " + text, Kind: errInUse,
				Detail: "it has the names " + Familiar(image.Names), Remedy: "remove it by name, or with --force"}
		default:
			what.names = append(what.names, left[image.Key]...)
			left[image.Key] = nil
		}
		selected := slices.ContainsFunc(what.images, func(i Image) bool { return i.Key == image.Key })
		if selected || len(left[image.Key]) > 0 {
			continue
		}
		if err := unused(tx, image); err != nil {
			return what, err
		}
		what.images = append(what.images, image)
	}
	return what, nil
}

// unused returns an error if a container was made of the image.
func unused(tx *thinpool.Tx, image Image) error {
	containers, err := layers.ContainersIn(tx)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range containers {
		if c.Image == image.Key {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	noun, verb, remedy := "container", "uses it", "remove the container first"
	if len(names) > 1 {
		noun, verb, remedy = "containers", "use it", "remove the containers first"
	}
	return &Error{Op: "remove", Object: image.String(), Kind: errInUse,
		Detail: fmt.Sprintf("%s %s %s", noun, strings.Join(names, ", "), verb), Remedy: remedy}
}

func (w selection) keys() []string {
	var keys []string
	for _, image := range w.images {
		keys = append(keys, image.Key)
	}
	return keys
}

// layers returns the layers of all images, each once.
func (w selection) layers() []string {
	var layers []string
	for _, image := range w.images {
		for _, id := range image.Layers {
			if !slices.Contains(layers, id) {
				layers = append(layers, id)
			}
		}
	}
	return layers
}

func (w selection) deleteIn(tx *thinpool.Tx) error {
	for _, name := range w.names {
		if err := tx.Delete(kindNames, name.String()); err != nil {
			return err
		}
	}
	for _, image := range w.images {
		if err := tx.Delete(kindImages, image.Key); err != nil {
			return err
		}
		var key string
		if image.ID == "" || tx.Get(kindIDs, image.ID, &key) != nil || key != image.Key {
			continue
		}
		if err := tx.Delete(kindIDs, image.ID); err != nil {
			return err
		}
	}
	return nil
}

// neededWithout returns a function for the layers that images need, other than the images
// with the given keys.
func neededWithout(keys []string) func(*thinpool.Tx) (map[string]string, error) {
	return func(tx *thinpool.Tx) (map[string]string, error) {
		images, err := list(tx)
		needed := map[string]string{}
		for _, image := range images {
			if slices.Contains(keys, image.Key) {
				continue
			}
			for _, id := range image.Layers {
				needed[id] = image.String()
			}
		}
		return needed, err
	}
}

// Needed returns the layers that images need, each with one of the images.
func Needed(tx *thinpool.Tx) (map[string]string, error) { return neededWithout(nil)(tx) }
