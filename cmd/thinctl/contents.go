package main

import (
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/internal/images/reference"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// What image, layer and container commands have in common.

// contents returns the images, and with them the layers, of a pool.
func (c *call) contents(pool *thinpool.Pool) *images.Store {
	layers := snapshots.New(pool, c.files, snapshots.Options{Now: c.host.Now})
	return images.New(layers, images.Options{Now: c.host.Now})
}

// onImages runs do with the images of the pool that the first argument names.
func (c *call) onImages(do func(*images.Store) error) error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error { return do(c.contents(pool)) })
}

// measured reads what the layers and containers take. Where the metadata cannot
// be read that is said, and everything else can still be shown.
func (c *call) measured(store *images.Store, o snapshots.SizesOptions) (snapshots.Sizes, error) {
	done := c.readingSizes(store)
	sizes, err := store.Layers().Sizes(c.ctx, o)
	done()
	return sizes, c.unmeasured(err)
}

func (c *call) readingSizes(store *images.Store) (done func()) {
	return c.progress("reading the metadata of pool %s", store.Layers().Pool().Name())
}

// unmeasured turns an error of measuring into a warning, unless all is over.
func (c *call) unmeasured(err error) error {
	if err == nil || c.ctx.Err() != nil {
		return err
	}
	c.logger.Warn("what is taken of the pool is not known", "error", err)
	return nil
}

// stringsFlag is a flag that may be given several times. cli's own takes a
// value apart at its commas, which Dockerfile instructions have.
func stringsFlag(name, alias, usage string) cli.Flag {
	flag := &cli.GenericFlag{Name: name, Value: new(texts), Usage: usage}
	if alias != "" {
		flag.Aliases = []string{alias}
	}
	return flag
}

type texts []string

// copied is what cli gives to a flag's other names, which have the same value.
const copied = "\x00"

func (t *texts) Set(text string) error {
	if text != copied {
		*t = append(*t, text)
	}
	return nil
}

// Serialize implements [cli.Serializer].
func (t *texts) Serialize() string { return copied }

func (t *texts) String() string { return strings.Join(*t, ", ") }

func (c *call) texts(name string) []string { return *c.flags.Generic(name).(*texts) }

// imageNames reads names; none where the word was left out.
func parseNames(words ...string) ([]reference.Reference, error) {
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

func familiar(names []reference.Reference) []string {
	all := []string{}
	for _, name := range names {
		all = append(all, name.Familiar())
	}
	return all
}

// poolHead begins results about a pool's images, layers or containers.
type poolHead struct {
	envelope
	Pool string `json:"pool"`
}

func headOf(store *images.Store) poolHead {
	return poolHead{schema(), store.Layers().Pool().Name()}
}

// raw is standard output for what is no text, unless a terminal has it.
func (c *call) raw(flag string) (io.Writer, error) {
	if c.colorOn {
		return nil, c.misuse("this is nothing for a terminal: name a file with %s", flag)
	}
	return c.out, nil
}
