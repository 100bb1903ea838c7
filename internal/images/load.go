package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/internal/images/layertar"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// LoadOptions change how an image is loaded.
type LoadOptions struct {
	// Names are the names that the image gets. Another image loses a name that it has.
	Names []reference.Reference
	// Manifest is the digest of the manifest in a registry from which the image is loaded.
	Manifest string
	// FS and Size apply to a new base layer. If they are zero, the store's default and the
	// pool's base size are used.
	FS     filesystem.Type
	Size   units.Bytes
	Limits layertar.Limits
	// Warn receives warnings about unusual input that was accepted.
	Warn fault.Warn
	// Progress is called when a layer advances. It may be nil.
	Progress func(Progress)
}

// Progress is the progress of a layer.
type Progress struct {
	Layer int    // index in the image
	ID    string // of the layer
	// Read of Total bytes of the layer's blob have been applied. Total is 0 if it is not
	// known.
	Read, Total units.Bytes
	State       ProgressState
}

// ProgressState is the state of a layer.
type ProgressState string

// The states of a layer.
const (
	LayerExists   ProgressState = "already exists"
	LayerApplying ProgressState = "applying"
	LayerDone     ProgressState = "done"
)

// incoming is an image that is being loaded.
type incoming struct {
	id      string
	raw     []byte
	config  *v1.ConfigFile
	layers  []v1.Layer
	diffs   []string // diff ids, base first
	chain   []string // chain ids without algorithm, base first
	options LoadOptions
}

func incomingOf(image v1.Image, o LoadOptions) (*incoming, error) {
	in := &incoming{options: o}
	var err error
	if in.raw, err = image.RawConfigFile(); err != nil {
		return nil, err
	}
	if in.config, err = image.ConfigFile(); err != nil {
		return nil, err
	}
	if in.layers, err = image.Layers(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(in.raw)
	in.id = hex.EncodeToString(sum[:])
	for _, diff := range in.config.RootFS.DiffIDs {
		in.diffs = append(in.diffs, diff.String())
	}
	if len(in.diffs) != len(in.layers) {
		return nil, &Error{Op: "load", Object: "image " + short(in.id), Kind: fault.Invalid,
			Detail: fmt.Sprintf("its config names %d layers, its manifest %d", len(in.diffs), len(in.layers))}
	}
	in.chain = chainIDs(in.diffs)
	return in, nil
}

// chainIDs returns the OCI chain ids of the layers, base first, without algorithm.
func chainIDs(diffs []string) []string {
	var ids []digest.Digest
	for _, diff := range diffs {
		ids = append(ids, digest.Digest(diff))
	}
	var chain []string
	for _, id := range identity.ChainIDs(ids) {
		chain = append(chain, id.Encoded())
	}
	return chain
}

// Load creates the image's missing layers and then the image. It verifies each layer's
// digest while it applies the layer. A load that fails or is killed leaves complete
// layers, which the next load of the image uses.
func (s *Store) Load(ctx context.Context, image v1.Image, o LoadOptions) (Image, error) {
	in, err := incomingOf(image, o)
	if err != nil {
		return Image{}, err
	}
	loaded, err := s.load(ctx, in)
	if err != nil {
		var inner *Error
		if errors.As(err, &inner) { // from fill, wrapped in the layer's error
			return Image{}, inner
		}
		return Image{}, &Error{Op: "load", Object: in.object(), Err: err}
	}
	return loaded, nil
}

func (in *incoming) object() string {
	if len(in.options.Names) > 0 {
		return "image " + in.options.Names[0].Familiar()
	}
	return "image " + short(in.id)
}

func (s *Store) load(ctx context.Context, in *incoming) (Image, error) {
	options := layers.ChainOptions{FS: in.options.FS, Size: in.options.Size, Layers: in.chain}
	chain, err := s.layers.BeginChain(ctx, options)
	if err != nil {
		return Image{}, err
	}
	defer chain.Close()
	for i := range in.chain {
		if i < chain.Have() {
			in.report(i, LayerExists, 0, 0)
			continue
		}
		if err := s.add(ctx, chain, in, i); err != nil {
			return Image{}, err
		}
	}
	var loaded Image
	err = chain.Finish(ctx, func(tx *thinpool.Tx) (err error) {
		loaded, err = s.record(tx, in, chain.Layers())
		return err
	})
	return loaded, errors.Join(err, chain.Close())
}

func (in *incoming) report(layer int, state ProgressState, read, total units.Bytes) {
	if in.options.Progress != nil {
		in.options.Progress(Progress{Layer: layer, ID: in.chain[layer], Read: read, Total: total, State: state})
	}
}

// add creates the image's i-th layer.
func (s *Store) add(ctx context.Context, chain *layers.Chain, in *incoming, i int) error {
	spec := layers.LayerSpec{ID: in.chain[i], DiffID: in.diffs[i], Created: in.created(i), Last: i == len(in.chain)-1}
	filled := false
	_, err := chain.Add(ctx, spec, func(root string) (layers.Filled, error) {
		filled = true
		return s.fill(ctx, in, i, root)
	})
	if err != nil {
		return errors.Join(err, s.dropLeft(ctx, spec.ID))
	}
	if filled {
		in.report(i, LayerDone, 0, 0)
	} else {
		in.report(i, LayerExists, 0, 0)
	}
	return nil
}

// created returns a layer's creation time from the image's history.
func (in *incoming) created(layer int) time.Time {
	at := 0
	for _, step := range in.config.History {
		if step.EmptyLayer {
			continue
		}
		if at == layer {
			return step.Created.Time
		}
		at++
	}
	return in.config.Created.Time
}

// fill applies a layer's tar to the tree below root.
func (s *Store) fill(ctx context.Context, in *incoming, i int, root string) (layers.Filled, error) {
	if err := s.makeLayersDir(); err != nil {
		return layers.Filled{}, err
	}
	var total units.Bytes // stays 0 if it is not known
	if size, err := in.layers[i].Size(); err == nil {
		total = units.Bytes(size)
	}
	blob, err := manifest.OpenStored(in.layers[i]) // Apply uncompresses it, and returns its diff id
	if err != nil {
		return layers.Filled{}, err
	}
	in.report(i, LayerApplying, 0, total)
	applied, err := layertar.Apply(ctx, root, blob, layertar.ApplyOptions{
		Limits:   in.options.Limits,
		TempDir:  s.pool.LayersDir(),
		Warn:     in.options.Warn.In(in.object(), fmt.Sprintf("layer %d", i+1)),
		Progress: func(n int64) { in.report(i, LayerApplying, units.Bytes(n), total) },
	})
	if err = errors.Join(err, blob.Close()); err != nil {
		return layers.Filled{}, fmt.Errorf("layer %d, %s: %w", i+1, in.diffs[i], err)
	}
	defer applied.Split.Close()
	if applied.DiffID != in.diffs[i] {
		return layers.Filled{}, &Error{Op: "load", Object: in.object(), Kind: ErrDigest,
			Detail: fmt.Sprintf("layer %d has the diff id %s, its config says %s", i+1, applied.DiffID, in.diffs[i]),
			Remedy: "get the image again"}
	}
	if err := s.keepSplit(in.chain[i], applied.Split); err != nil {
		return layers.Filled{}, err
	}
	return layers.Filled{Size: applied.Size, Entries: applied.Entries, TarSize: applied.TarSize}, nil
}

// keepSplit writes a layer's split durably, before the layer is recorded.
func (s *Store) keepSplit(layer string, split layertar.Split) error {
	// The caller holds the layer's lock.
	return disk.WriteFrom(s.splitPath(layer), split.Reader())
}

// makeLayersDir creates the directory of the splits, in which large ones are also kept
// while they are written.
func (s *Store) makeLayersDir() error {
	if err := disk.MakeDir(s.pool.LayersDir()); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// record writes the image's documents in a transaction.
func (s *Store) record(tx *thinpool.Tx, in *incoming, layers []string) (Image, error) {
	image, err := byKey(tx, in.id)
	switch {
	case errors.Is(err, fault.NotFound):
		// An image that was committed here may have this id now.
		var key string
		if err := tx.Get(kindIDs, in.id, &key); err == nil {
			if image, err = byKey(tx, key); err != nil {
				return image, err
			}
			break
		}
		image = Image{Key: in.id, ID: in.id, Raw: in.raw, Layers: layers, Created: in.config.Created.UTC(), Loaded: s.now()}
		if err := tx.Put(kindImages, image.Key, image); err != nil {
			return image, err
		}
	case err != nil:
		return image, err
	}
	if err := in.rememberAll(tx); err != nil {
		return image, err
	}
	if err := setNames(tx, image.Key, in.options.Manifest, in.options.Names); err != nil {
		return image, err
	}
	names, err := namesByKey(tx)
	image.Names = names[image.Key]
	return image, err
}

// marshal formats a config as Docker does: compact, with the keys in the order of the
// struct.
func marshal(config *v1.ConfigFile) ([]byte, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("write the config: %w", err)
	}
	return raw, nil
}
