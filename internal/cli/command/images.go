package command

import (
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// What image, layer and container commands have in common.

// Images returns the images, and with them the layers, of a pool.
func (c *Call) Images(pool *thinpool.Pool) *images.Store {
	layers := snapshots.New(pool, c.Files, snapshots.Options{Now: c.Host.Now})
	return images.New(layers, images.Options{Now: c.Host.Now})
}

// OnImages runs do with the images of the pool that the first argument names.
func (c *Call) OnImages(do func(*images.Store) error) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error { return do(c.Images(pool)) })
}

// Sizes reads what the layers and containers take. Where the metadata cannot
// be read that is said, and everything else can still be shown.
func (c *Call) Sizes(store *images.Store, o snapshots.SizesOptions) (snapshots.Sizes, error) {
	done := c.ReadingSizes(store)
	sizes, err := store.Layers().Sizes(c.Ctx, o)
	done()
	return sizes, c.IgnoreUnmeasured(err)
}

func (c *Call) ReadingSizes(store *images.Store) (done func()) {
	return c.Progress("reading the metadata of pool %s", store.Layers().Pool().Name())
}

// IgnoreUnmeasured turns an error of measuring into a warning, unless all is over.
func (c *Call) IgnoreUnmeasured(err error) error {
	if err == nil || c.Ctx.Err() != nil {
		return err
	}
	c.Logger.Warn("sizes in the pool are unknown", "error", err)
	return nil
}

// imageNames reads names; none where the word was left out.
func ParseNames(words ...string) ([]reference.Reference, error) {
	var names []reference.Reference
	for _, word := range words {
		if word == "" {
			continue
		}
		name, err := reference.Parse(word)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func Familiar(names []reference.Reference) []string {
	all := []string{}
	for _, name := range names {
		all = append(all, name.Familiar())
	}
	return all
}

func HeadOf(store *images.Store) output.PoolHead {
	return output.PoolHead{Envelope: output.Schema(), Pool: store.Layers().Pool().Name()}
}
