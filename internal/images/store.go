package images

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"thinctl/fault"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// Options change how a store works.
type Options struct {
	// Now returns the time for documents; nil for time.Now.
	Now func() time.Time
}

// Store gives access to the images of one pool. It keeps no state between calls, and any
// number of Stores in any number of processes can use one pool. Its methods are safe for
// concurrent use.
type Store struct {
	pool    *thinpool.Pool
	layers  *layers.Store
	options Options
}

// New returns a Store for the pool of the layers. It changes nothing in the pool.
func New(store *layers.Store, o Options) *Store {
	return &Store{pool: store.Pool(), layers: store, options: o}
}

// Layers returns the store of the layers.
func (s *Store) Layers() *layers.Store { return s.layers }

func (s *Store) now() time.Time {
	if s.options.Now != nil {
		return s.options.Now().UTC()
	}
	return time.Now().UTC()
}

// Images returns all images with their names, the newest first.
func (s *Store) Images(ctx context.Context) ([]Image, error) {
	var images []Image
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		images, err = list(tx)
		return err
	})
	slices.SortStableFunc(images, func(a, b Image) int { return b.Created.Compare(a.Created) })
	return images, err
}

// CountIn returns the number of images, in the caller's transaction.
func CountIn(tx *thinpool.Tx) int { return tx.Count(kindImages) }

// list returns all images with their names, in the order of their keys.
func list(tx *thinpool.Tx) ([]Image, error) {
	names, err := namesByKey(tx)
	if err != nil {
		return nil, err
	}
	var images []Image
	for entry, err := range thinpool.Documents[Image](tx, kindImages, "") {
		if err != nil {
			return nil, err
		}
		entry.Record.Names = names[entry.Key]
		images = append(images, entry.Record)
	}
	return images, nil
}

func namesByKey(tx *thinpool.Tx) (map[string][]reference.Reference, error) {
	names := map[string][]reference.Reference{}
	for entry, err := range thinpool.Documents[named](tx, kindNames, "") {
		if err != nil {
			return nil, err
		}
		name, err := reference.Parse(entry.Key)
		if err != nil {
			return nil, err
		}
		names[entry.Record.Key] = append(names[entry.Record.Key], name)
	}
	return names, nil
}

// Image returns an image by its name, its id or the beginning of its id. Its errors are
// those of package reference.
func (s *Store) Image(ctx context.Context, text string) (Image, error) {
	var image Image
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		image, err = find(tx, text)
		return err
	})
	return image, err
}

func find(tx *thinpool.Tx, text string) (Image, error) {
	key, err := reference.Find(text, index{tx})
	if err != nil {
		return Image{}, err
	}
	return byKey(tx, key)
}

func byKey(tx *thinpool.Tx, key string) (Image, error) {
	var image Image
	if err := tx.Get(kindImages, key, &image); err != nil {
		return Image{}, err
	}
	names, err := namesByKey(tx)
	image.Names = names[key]
	return image, err
}

// index looks up names and ids for package reference. It returns keys.
type index struct{ tx *thinpool.Tx }

func (i index) Named(name reference.Reference) (string, bool, error) {
	var record named
	err := i.tx.Get(kindNames, name.String(), &record)
	if errors.Is(err, fault.NotFound) {
		return "", false, nil
	}
	return record.Key, err == nil, err
}

func (i index) WithPrefix(digits string) ([]string, error) {
	var keys []string
	for entry, err := range thinpool.Documents[Image](i.tx, kindImages, digits) {
		if err != nil {
			return nil, err
		}
		keys = append(keys, entry.Key)
	}
	for entry, err := range thinpool.Documents[string](i.tx, kindIDs, digits) {
		if err != nil {
			return nil, err
		}
		if !slices.Contains(keys, entry.Record) {
			keys = append(keys, entry.Record)
		}
	}
	return keys, nil
}

// setNames gives names to an image. Another image loses a name that it has.
func setNames(tx *thinpool.Tx, key, manifest string, names []reference.Reference) error {
	for _, name := range names {
		if err := tx.Put(kindNames, name.String(), named{Key: key, Manifest: manifest}); err != nil {
			return err
		}
	}
	return nil
}

// Familiar returns names in Docker's form, in one line.
func Familiar(names []reference.Reference) string {
	var all []string
	for _, name := range names {
		all = append(all, name.Familiar())
	}
	return strings.Join(all, ", ")
}
