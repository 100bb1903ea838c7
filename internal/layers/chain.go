package layers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// ChainOptions are the options of BeginChain.
type ChainOptions struct {
	// FS and Size are those of a new base layer; zero means the store's default and the
	// pool's base size. Other layers have the file system of their parent, and its size
	// unless Size is larger.
	FS   filesystem.Type
	Size units.Bytes
	// Layers are the ids of the whole chain, the base first. A layer that was committed
	// in this pool may be given by its chain id.
	Layers []string
}

// Chain makes the layers of one image, the base first, in one working volume that is
// mounted once. Each layer is a snapshot of it; the last layer is the working volume
// itself. While a Chain is open, its layers cannot be removed. A Chain is for one
// goroutine.
type Chain struct {
	s       *Store
	w       *snapshots.Lease
	options ChainOptions // whose Layers are those that are there
	wanted  []string     // the layers as they were asked for
	have    int
	next    int
	below   Layer           // the layer before next
	target  string          // where the working volume is mounted, as below plus nothing
	fs      filesystem.Type // the working volume's, if mounted
	size    units.Bytes
	done    bool
}

// LayerSpec describes a layer to be made.
type LayerSpec struct {
	ID      string // the next of the chain's
	DiffID  string // "" where fill finds it out
	Created time.Time
	// Last reports that no layer follows. The working volume becomes this layer.
	Last bool
}

// Filled is the result of filling a layer.
type Filled struct {
	Size    units.Bytes
	Entries int
	TarSize int64
	// DiffID is the layer's, if its spec had none because the layer was not read
	// before.
	DiffID string
}

// BeginChain leases the layers of a chain. The Chain must be closed.
func (s *Store) BeginChain(ctx context.Context, o ChainOptions) (*Chain, error) {
	if err := checkChain(o); err != nil {
		return nil, err
	}
	c := &Chain{s: s, options: o, wanted: slices.Clone(o.Layers)}
	c.options.Layers = slices.Clone(o.Layers)
	var err error
	c.w, err = s.snaps.Lease(ctx, c.options.Layers, c.find)
	if err != nil {
		return nil, failed("begin", "a chain of layers", err)
	}
	return c, nil
}

func checkChain(o ChainOptions) error {
	seen := map[string]bool{}
	for _, id := range o.Layers {
		if !isID(id) || seen[id] {
			return &Error{
				Op:     "begin",
				Object: "a chain of layers",
				Kind:   fault.Invalid,
				Detail: fmt.Sprintf("layer id %q is not 64 hex digits, or is given twice", id),
			}
		}
		seen[id] = true
	}
	return nil
}

// find looks up the existing layers, by their ids or, if they were committed here, by
// their chain ids.
func (c *Chain) find(tx *thinpool.Tx) error {
	c.have, c.next, c.below = 0, 0, Layer{}
	copy(c.options.Layers, c.wanted)
	for i, id := range c.wanted {
		layer, found, err := layerIn(tx, id)
		if err == nil && !found {
			layer, found, err = c.committed(tx, id)
		}
		if err != nil || !found {
			return err
		}
		if err := c.follows(layer); err != nil {
			return err
		}
		c.options.Layers[i] = layer.ID
		c.take(layer)
		c.have++
	}
	return nil
}

// committed finds the layer on the one below that has the chain id.
func (c *Chain) committed(tx *thinpool.Tx, chainID string) (Layer, bool, error) {
	for entry, err := range thinpool.Documents[Layer](tx, kindLayers, "") {
		if err != nil {
			return Layer{}, false, err
		}
		if entry.Record.ChainID != chainID {
			continue
		}
		if l, found, err := layerIn(tx, entry.Key); err != nil || found && l.Parent == c.below.ID {
			return l, found, err
		}
	}
	return Layer{}, false, nil
}

// Layers returns the ids of the chain's layers, the base first. A layer that was
// committed here has its own id, not the chain id that was given.
func (c *Chain) Layers() []string { return slices.Clone(c.options.Layers) }

func (c *Chain) follows(layer Layer) error {
	if layer.Parent == c.below.ID {
		return nil
	}
	return &Error{Op: "begin", Object: "layer " + short(layer.ID), Kind: fault.Invalid,
		Detail: fmt.Sprintf("its parent is %q, not %q", short(layer.Parent), short(c.below.ID))}
}

func (c *Chain) take(layer Layer) {
	c.below = layer
	c.next++
}

// Have returns how many layers, from the base on, existed when the chain began. They
// need no Add.
func (c *Chain) Have() int { return c.have }

// Add makes the chain's next layer. It calls fill with the mounted root of the layer
// below, to be changed into the new layer's. When Add returns, the layer is durable. If
// another process makes the same layer, Add waits and takes that one, without calling
// fill; so it does if the layer exists. After an error the layers before are complete,
// and the same layer may be added again.
func (c *Chain) Add(ctx context.Context, spec LayerSpec, fill func(root string) (Filled, error)) (Layer, error) {
	object := "layer " + short(spec.ID)
	if c.done || c.next >= len(c.options.Layers) || c.options.Layers[c.next] != spec.ID {
		return Layer{}, &Error{
			Op:     "add",
			Object: object,
			Kind:   fault.Invalid,
			Detail: "it is not the chain's next layer",
		}
	}
	lock, err := c.s.snaps.LockObject(ctx, layerVolume(spec.ID))
	if err != nil {
		return Layer{}, failed("wait for", object, err)
	}
	defer lock.Release()
	layer, err := c.add(ctx, spec, fill)
	if err != nil {
		err = c.s.snaps.WriteFailed(ctx, "add", object, err)
		return Layer{}, errors.Join(err, c.drop(ctx))
	}
	c.take(layer)
	return layer, nil
}

func (c *Chain) add(ctx context.Context, spec LayerSpec, fill func(root string) (Filled, error)) (Layer, error) {
	layer, found, err := c.s.findLayer(ctx, spec.ID)
	if err != nil {
		return layer, err
	}
	if found {
		if err := c.follows(layer); err != nil {
			return layer, err
		}
		return layer, c.drop(ctx) // what is in the working volume is not below the next
	}
	if err := c.open(ctx); err != nil {
		return layer, err
	}
	filled, err := fill(c.target)
	if err == nil {
		// Sync also returns the errors of earlier writes in the background, to a full
		// pool for example.
		err = c.s.files.Sync(ctx, c.target)
	}
	if err != nil {
		return layer, c.s.tooSmall("layer "+short(spec.ID), c.target, c.fs, c.size, c.below.ID, err)
	}
	layer = Layer{
		ID:      spec.ID,
		Parent:  c.below.ID,
		DiffID:  spec.DiffID,
		ChainID: spec.ID,
		Size:    filled.Size,
		Entries: filled.Entries,
		TarSize: filled.TarSize,
		Created: spec.Created,
		FS:      c.fs,
		Volume:  c.size,
	}
	if c.size == c.below.Volume {
		layer.FileSystem = c.below.FileSystem
	}
	if layer.Created.IsZero() {
		layer.Created = c.s.now()
	}
	if spec.DiffID == "" {
		if layer.DiffID, layer.ChainID = filled.DiffID, ""; c.below.ID == "" || c.below.ChainID != "" {
			layer.ChainID = chainID(c.below.ChainID, filled.DiffID)
		}
	}
	return layer, c.keep(ctx, layer, spec.Last)
}

// open mounts the working volume with the content of the layer below, if it is not
// mounted.
func (c *Chain) open(ctx context.Context) error {
	if c.target != "" {
		return nil
	}
	origin := layerVolume(c.below.ID)
	c.fs, c.size = c.below.FS, max(c.below.Volume, c.options.Size)
	if c.below.ID == "" {
		var err error
		if c.options.FS, c.options.Size, err = c.s.shape(ctx, c.options.FS, c.options.Size); err != nil {
			return err
		}
		t, err := c.s.snaps.Template(ctx, c.options.FS, c.options.Size)
		if err != nil {
			return err
		}
		origin, c.fs, c.size = snapshots.TemplateVolume(t.Key), t.FS, t.Size
	}
	grows := c.below.ID != "" && c.size > c.below.Volume
	if err := c.w.Copy(ctx, origin, c.size); err != nil {
		return err
	}
	target, err := c.w.Mount(ctx, c.fs, grows)
	if err == nil {
		c.target = target
	}
	return err
}

// keep makes the layer from the content of the working volume.
func (c *Chain) keep(ctx context.Context, layer Layer, last bool) error {
	volume := layerVolume(layer.ID)
	snapshot := snapshots.NewSnapshot{Key: volume, Volume: volume, For: snapshots.ForLayer,
		FS: layer.FS, FileSystem: layer.FileSystem,
		With: func(tx *thinpool.Tx, _ snapshots.Record) error { return tx.Put(kindLayers, layer.ID, layer) }}
	if layer.Parent != "" {
		snapshot.Parent = layerVolume(layer.Parent)
	}
	if !last {
		return c.w.Commit(ctx, snapshot)
	}
	c.target = ""
	return c.w.CommitLast(ctx, snapshot)
}

// drop removes the working volume.
func (c *Chain) drop(ctx context.Context) error {
	c.target = ""
	return c.w.Drop(ctx)
}

// Finish ends the lease in the transaction in which with writes what needs the layers
// from now on. with may be nil. All layers must have been made.
func (c *Chain) Finish(ctx context.Context, with func(*thinpool.Tx) error) error {
	if c.done || c.next < len(c.options.Layers) {
		return &Error{
			Op:     "finish",
			Object: "a chain of layers",
			Kind:   fault.Invalid,
			Detail: "layers are missing, or it has been closed",
		}
	}
	if err := c.drop(ctx); err != nil {
		return failed("finish", "a chain of layers", err)
	}
	err := c.s.pool.Update(ctx, func(tx *thinpool.Tx) error {
		if with != nil {
			if err := with(tx); err != nil {
				return err
			}
		}
		return c.w.EndIn(tx)
	})
	if err != nil {
		return failed("finish", "a chain of layers", err)
	}
	c.done = true
	return c.w.Release()
}

// Close ends the lease if Finish has not. Complete layers stay until they are removed.
// After Finish it does nothing.
func (c *Chain) Close() error {
	if c.done {
		return nil
	}
	c.done = true
	c.target = ""
	return failed("close", "a chain of layers", c.w.End(context.Background()))
}
