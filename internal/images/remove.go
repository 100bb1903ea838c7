package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thinctl/internal/images/reference"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// RemoveOptions change what a removal puts up with.
type RemoveOptions struct {
	// Force removes an image by its id that has several names.
	Force bool
}

// Removal is what a removal does, or would do.
type Removal struct {
	Untagged []reference.Reference
	Images   []Image
	Layers   []string          // child first
	Kept     map[string]string // layers of the images that somebody else needs: who
	// Freed is what would come back to the pool, of a plan. It is nil where the
	// metadata cannot be read, and Unmeasured says why: that keeps nothing from
	// being removed.
	Freed      *units.Bytes
	Unmeasured error
	// Waiting: some of it comes back when those who still use a volume have left.
	Waiting bool
}

// intent is what is to go: names, and images with all that they have.
type intent struct {
	names  []reference.Reference
	images []Image
}

// PlanRemoval says what Remove would do, and how much space that would give.
func (s *Store) PlanRemoval(ctx context.Context, texts []string, o RemoveOptions) (Removal, error) {
	what, err := s.intended(ctx, texts, o)
	if err != nil {
		return Removal{}, err
	}
	plan, err := s.layers.PlanRemoval(ctx, what.layers(), snapshots.RemovalOptions{Needed: neededBut(what.keys()), Unused: true, Measure: true})
	removal := planned(plan)
	removal.Untagged, removal.Images = what.names, what.images
	return removal, err
}

func planned(p snapshots.Plan) Removal {
	return Removal{Layers: p.Layers, Kept: p.Kept, Freed: p.Freed, Unmeasured: p.Unmeasured}
}

func (s *Store) intended(ctx context.Context, texts []string, o RemoveOptions) (what intent, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		what, err = intend(tx, texts, o)
		return err
	})
	return what, err
}

// Remove takes names away, and images that have no name left, or that were asked
// for by id, with those of their layers that nobody else needs: all in one
// transaction. An image that a container was made of stays.
func (s *Store) Remove(ctx context.Context, texts []string, o RemoveOptions) (Removal, error) {
	const tries = 10
	for n := 1; ; n++ {
		removal, err := s.remove(ctx, texts, o)
		if !errors.Is(err, errOvertaken) || n == tries {
			return removal, err
		}
	}
}

// errOvertaken: more is to go than was planned, such as an image whose other
// name went meanwhile.
var errOvertaken = errors.New("the images have changed meanwhile")

func (s *Store) remove(ctx context.Context, texts []string, o RemoveOptions) (Removal, error) {
	what, err := s.intended(ctx, texts, o)
	if err != nil {
		return Removal{}, err
	}
	layers := what.layers()
	removed, err := s.layers.RemoveLayers(ctx, layers, snapshots.RemovalOptions{
		Unused: true,
		Needed: func(tx *thinpool.Tx) (map[string]string, error) { return neededBut(what.keys())(tx) },
		With: func(tx *thinpool.Tx) (err error) {
			if what, err = intend(tx, texts, o); err != nil {
				return err
			}
			if slices.ContainsFunc(what.layers(), func(id string) bool { return !slices.Contains(layers, id) }) {
				return errOvertaken
			}
			return what.carryOut(tx)
		},
	})
	if err != nil && len(removed.Layers) == 0 {
		return Removal{}, err
	}
	return Removal{Untagged: what.names, Images: what.images, Layers: removed.Layers, Waiting: removed.Waiting},
		errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

// intend finds out what the texts mean.
func intend(tx *thinpool.Tx, texts []string, o RemoveOptions) (intent, error) {
	var what intent
	left := map[string][]reference.Reference{} // of images that are named
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
			left[image.Key] = slices.DeleteFunc(slices.Clone(left[image.Key]), func(n reference.Reference) bool { return n == name })
		case len(image.Names) > 1 && !o.Force:
			return what, &Error{Op: "remove", Object: "image " + text, Kind: errInUse,
				Detail: "it has the names " + Familiar(image.Names), Remedy: "remove it by name, or with --force"}
		default:
			what.names = append(what.names, left[image.Key]...)
			left[image.Key] = nil
		}
		if len(left[image.Key]) > 0 || slices.ContainsFunc(what.images, func(i Image) bool { return i.Key == image.Key }) {
			continue
		}
		if err := unused(tx, image); err != nil {
			return what, err
		}
		what.images = append(what.images, image)
	}
	return what, nil
}

// unused refuses an image that containers were made of.
func unused(tx *thinpool.Tx, image Image) error {
	containers, err := snapshots.ContainersIn(tx)
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
	noun := "container"
	if len(names) > 1 {
		noun = "containers"
	}
	return &Error{Op: "remove", Object: image.String(), Kind: errInUse,
		Detail: fmt.Sprintf("%s %s", noun, strings.Join(names, ", ")) + " began as it", Remedy: "remove those first"}
}

func (w intent) keys() []string {
	var keys []string
	for _, image := range w.images {
		keys = append(keys, image.Key)
	}
	return keys
}

// layers are all that the images have, each once.
func (w intent) layers() []string {
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

func (w intent) carryOut(tx *thinpool.Tx) error {
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

// neededBut tells which layers images need, but for those of the given keys.
func neededBut(keys []string) func(*thinpool.Tx) (map[string]string, error) {
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

// Needed tells which layers images need.
func Needed(tx *thinpool.Tx) (map[string]string, error) { return neededBut(nil)(tx) }
