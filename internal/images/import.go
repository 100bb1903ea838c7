package images

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/layertar"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// ImportOptions describe the image that an import creates.
type ImportOptions struct {
	Names   []reference.Reference
	Message string
	Changes []string // as in CommitOptions
	Created time.Time
	FS      filesystem.Type
	Size    units.Bytes
	Limits  layertar.Limits
	Warn    fault.Warn // receives warnings about unusual input that was accepted
	// Progress is called with the number of bytes of the tar that were applied. It may be
	// nil.
	Progress func(units.Bytes)
}

// Import creates an image with one layer from a flat tar, compressed or not.
func (s *Store) Import(ctx context.Context, tar io.Reader, o ImportOptions) (Image, error) {
	edits, err := parseChanges(o.Changes)
	if err != nil {
		return Image{}, err
	}
	if o.Created.IsZero() {
		o.Created = s.now()
	}
	if err := s.makeLayersDir(); err != nil {
		return Image{}, err
	}
	id := randomID() // the chain id is not known before the tar was read
	chain, err := s.layers.BeginChain(ctx, layers.ChainOptions{FS: o.FS, Size: o.Size, Layers: []string{id}})
	if err != nil {
		return Image{}, err
	}
	defer chain.Close()
	var diff string
	apply := layertar.ApplyOptions{
		Limits: o.Limits, TempDir: s.pool.LayersDir(), Warn: o.Warn.In(object(o.Names), ""),
		Progress: func(n int64) {
			if o.Progress != nil {
				o.Progress(units.Bytes(n))
			}
		},
	}
	spec := layers.LayerSpec{ID: id, Created: o.Created, Last: true}
	_, err = chain.Add(ctx, spec, func(root string) (layers.Filled, error) {
		applied, err := layertar.Apply(ctx, root, tar, apply)
		if err == nil {
			err = errors.Join(s.keepSplit(id, applied.Split), applied.Split.Close())
		}
		diff = applied.DiffID
		return layers.Filled{Size: applied.Size, Entries: applied.Entries, TarSize: applied.TarSize, DiffID: diff}, err
	})
	if err != nil {
		return Image{}, &Error{Op: "import", Object: object(o.Names), Err: errors.Join(err, s.dropLeft(ctx, id))}
	}
	image, err := imported(id, diff, edits, o)
	if err != nil {
		return Image{}, err
	}
	image.Loaded = s.now()
	err = chain.Finish(ctx, func(tx *thinpool.Tx) error {
		was, err := byKey(tx, image.Key)
		if err == nil {
			image = was
		} else if errors.Is(err, fault.NotFound) {
			err = tx.Put(kindImages, image.Key, image)
		}
		return errors.Join(err, setNames(tx, image.Key, "", o.Names))
	})
	if err == nil && image.Top() != id {
		err = s.removeUnneeded(ctx, id) // the same image existed already
	}
	image.Names = append(image.Names, o.Names...)
	return image, err
}

// removeUnneeded removes a layer unless it is needed.
func (s *Store) removeUnneeded(ctx context.Context, id string) error {
	removed, err := s.layers.RemoveLayers(ctx, []string{id}, layers.RemovalOptions{Needed: Needed, Unused: true})
	return errors.Join(err, s.dropSplits(ctx, removed.Layers))
}

func object(names []reference.Reference) string {
	if len(names) == 0 {
		return "a tar"
	}
	return "image " + names[0].Familiar()
}

func imported(layer, diff string, edits edits, o ImportOptions) (Image, error) {
	config := emptyConfig()
	config.Created = v1.Time{Time: o.Created.UTC()}
	hash, err := v1.NewHash(diff)
	if err != nil {
		return Image{}, err
	}
	config.RootFS.DiffIDs = []v1.Hash{hash}
	message := o.Message
	if message == "" {
		message = "Imported from -"
	}
	config.History = []v1.History{{Created: config.Created, Comment: message}}
	if err := edits.apply(&config.Config); err != nil {
		return Image{}, err
	}
	raw, err := marshal(config)
	if err != nil {
		return Image{}, err
	}
	sum := sha256.Sum256(raw)
	id := hex.EncodeToString(sum[:])
	return Image{Key: id, ID: id, Raw: raw, Layers: []string{layer}, Created: config.Created.Time}, nil
}

func randomID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
