package command

import (
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/thinpool"
)

// Images returns the images and layers of a pool.
func (c *Call) Images(pool *thinpool.Pool) *images.Store {
	store := layers.New(pool, c.Files, layers.Options{Now: c.Host.Now})
	return images.New(store, images.Options{Now: c.Host.Now})
}

// OnImages opens the images of the pool in the first argument and runs do.
func (c *Call) OnImages(do func(*images.Store) error) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error { return do(c.Images(pool)) })
}

// Sizes measures layers and containers. It logs a warning if the metadata cannot be read, because
// the rest of the result does not need it.
func (c *Call) Sizes(store *images.Store, o layers.SizesOptions) (layers.Sizes, error) {
	done := c.ReadingSizes(store)
	sizes, err := store.Layers().Sizes(c.Ctx, o)
	done()
	return sizes, c.IgnoreUnmeasured(err)
}

// ReadingSizes shows that metadata is being read.
func (c *Call) ReadingSizes(store *images.Store) (done func()) {
	return c.Progress("reading the metadata of pool %s", store.Layers().Pool().Name())
}

// IgnoreUnmeasured turns a failed measurement into a warning, unless the context has ended.
func (c *Call) IgnoreUnmeasured(err error) error {
	if err == nil || c.Ctx.Err() != nil {
		return err
	}
	c.Logger.Warn("sizes in the pool are unknown", "error", err)
	return nil
}

// ParseNames parses names of images and skips empty words.
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

// Familiar returns names in their short form, such as debian:12.
func Familiar(names []reference.Reference) []string {
	all := []string{}
	for _, name := range names {
		all = append(all, name.Familiar())
	}
	return all
}

// HeadOf returns the start of a result about a pool.
func HeadOf(store *images.Store) output.PoolHead {
	return output.PoolHead{Envelope: output.Schema(), Pool: store.Layers().Pool().Name()}
}
