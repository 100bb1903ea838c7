package snapshots

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// ChainOptions say which layers are to be made.
type ChainOptions struct {
	// FS and Size are of a new base layer; the store's default and the pool's
	// base size if zero. Other layers have their parent's file system, and its
	// size unless Size is larger.
	FS   filesystem.Type
	Size units.Bytes
	// Layers are the ids of the whole chain, the base first. For a layer that was
	// committed in the pool its chain id may stand.
	Layers []string
}

// Chain makes the layers of one image, the base first, in one working volume
// that is mounted once: at each layer's end the layer is a snapshot of it, and
// the last layer is the working volume itself. While a Chain is open, nobody
// removes the layers that it names. It is for one goroutine.
type Chain struct {
	s       *Store
	w       *work
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

// LayerSpec is a layer to be made.
type LayerSpec struct {
	ID      string // the next of the chain's
	DiffID  string // "" where fill finds it out
	Created time.Time
	// Last: no layer follows. The working volume becomes this layer.
	Last bool
}

// Filled is what was put into a layer.
type Filled struct {
	Size    units.Bytes
	Entries int
	TarSize int64
	// DiffID, where set, is the layer's: its spec had none, since it was not known
	// before it was read.
	DiffID string
}

// BeginChain holds the layers of a chain. It must be closed.
func (s *Store) BeginChain(ctx context.Context, o ChainOptions) (*Chain, error) {
	if err := checkChain(o); err != nil {
		return nil, err
	}
	c := &Chain{s: s, options: o, wanted: slices.Clone(o.Layers)}
	c.options.Layers = slices.Clone(o.Layers)
	var err error
	c.w, err = s.beginWork(ctx, c.options.Layers, c.look)
	if err != nil {
		return nil, failed("begin", "a chain of layers", err)
	}
	return c, nil
}

func checkChain(o ChainOptions) error {
	seen := map[string]bool{}
	for _, id := range o.Layers {
		if !isID(id) || seen[id] {
			return &Error{Op: "begin", Object: "a chain of layers", Kind: fault.Invalid, Detail: fmt.Sprintf("layer id %q is not 64 hex digits, or there twice", id)}
		}
		seen[id] = true
	}
	return nil
}

// look finds the layers that are there, by their ids or, where they were
// committed here, by their chain ids.
func (c *Chain) look(tx *thinpool.Tx) error {
	c.have, c.next, c.below = 0, 0, Layer{}
	copy(c.options.Layers, c.wanted)
	for i, id := range c.wanted {
		layer, found, err := document[Layer](tx, kindLayers, id)
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

// committed finds the layer over the one below that has come to have the chain
// id.
func (c *Chain) committed(tx *thinpool.Tx, chainID string) (Layer, bool, error) {
	for entry, err := range thinpool.Documents[Layer](tx, kindLayers, "") {
		if err != nil {
			return Layer{}, false, err
		}
		if l := entry.Record; l.ChainID == chainID && l.Parent == c.below.ID {
			return l, true, nil
		}
	}
	return Layer{}, false, nil
}

// Layers returns the ids of the chain's layers, base first: those of layers that
// were committed in the place of those that were asked for.
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

// Have returns how many of the chain's layers, from the base on, were there when
// it began. They need no Add.
func (c *Chain) Have() int { return c.have }

// Add makes the chain's next layer: it calls fill with the mounted root of the
// layer below, to be changed into the new one's. When Add returns, the layer is
// durable. Where another process makes the same layer, Add waits and takes
// that, without fill; so it does where the layer is there already. After an
// error the layers before are whole, and the same layer may be added again.
func (c *Chain) Add(ctx context.Context, spec LayerSpec, fill func(root string) (Filled, error)) (Layer, error) {
	object := "layer " + short(spec.ID)
	if c.done || c.next >= len(c.options.Layers) || c.options.Layers[c.next] != spec.ID {
		return Layer{}, &Error{Op: "add", Object: object, Kind: fault.Invalid, Detail: "it is not the chain's next layer"}
	}
	lock, err := c.s.lock(ctx, lockLayer, spec.ID)
	if err != nil {
		return Layer{}, failed("wait for", object, err)
	}
	defer lock.Release()
	layer, err := c.add(ctx, spec, fill)
	if err != nil {
		err = c.s.wrote(ctx, "add", object, err)
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
		// Also tells of what the kernel could not write, in the background, to a
		// full pool.
		err = c.s.files.Sync(ctx, c.target)
	}
	if err != nil {
		return layer, c.s.tooSmall("layer "+short(spec.ID), c.target, c.fs, c.size, c.below.ID, err)
	}
	layer = Layer{ID: spec.ID, Parent: c.below.ID, DiffID: spec.DiffID, ChainID: spec.ID, Size: filled.Size, Entries: filled.Entries, TarSize: filled.TarSize,
		Created: spec.Created, FS: c.fs, Volume: c.size}
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

// open sees to it that the working volume is mounted and holds the layer below.
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
		t, err := c.s.template(ctx, c.options.FS, c.options.Size)
		if err != nil {
			return err
		}
		origin, c.fs, c.size = templateVolume(t.Key), t.FS, t.Size
	}
	grows := c.below.ID != "" && c.size > c.below.Volume
	if err := c.w.copy(ctx, origin, c.size); err != nil {
		return err
	}
	target, err := c.w.mount(ctx, c.fs, grows)
	if err == nil {
		c.target = target
	}
	return err
}

// keep makes the layer of what the working volume holds.
func (c *Chain) keep(ctx context.Context, layer Layer, last bool) error {
	put := func(tx *thinpool.Tx) error { return tx.Put(kindLayers, layer.ID, layer) }
	if last {
		c.target = ""
		return c.w.keep(ctx, layerVolume(layer.ID), forLayer, put)
	}
	_, err := c.s.pool.Snapshot(ctx, c.w.volume(), layerVolume(layer.ID), thinpool.SnapshotOptions{
		Keep: thinpool.Keep{For: forLayer, ReadOnly: true, With: func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error { return put(tx) }},
	})
	return err
}

// drop throws the working volume away.
func (c *Chain) drop(ctx context.Context) error {
	c.target = ""
	return c.w.drop(ctx)
}

// Finish lets the layers go in the transaction in which with, which may be nil,
// writes who needs them from now on. All of them must have been made.
func (c *Chain) Finish(ctx context.Context, with func(*thinpool.Tx) error) error {
	if c.done || c.next < len(c.options.Layers) {
		return &Error{Op: "finish", Object: "a chain of layers", Kind: fault.Invalid, Detail: "layers are missing, or it has been closed"}
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
		return tx.Delete(kindWork, c.w.id)
	})
	if err != nil {
		return failed("finish", "a chain of layers", err)
	}
	c.done = true
	return c.w.release()
}

// Close lets go of what Finish has not: whole layers stay, as long as nobody
// removes them. After Finish it does nothing.
func (c *Chain) Close() error {
	if c.done {
		return nil
	}
	c.done = true
	c.target = ""
	return failed("close", "a chain of layers", c.w.end(context.Background()))
}
