package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/output"
	"thinctl/thinpool"
)

// CompletionMark is the last word of a command line that asks for proposals; urfave/cli defines
// it. The word before it is the one under the cursor, which may be empty.
const CompletionMark = "--generate-bash-completion"

// Propose prints the words that begin with the word under the cursor.
func (a *Environment) Propose(words ...string) {
	for _, word := range words {
		if strings.HasPrefix(word, a.Completing) {
			fmt.Fprintln(a.Out, word)
		}
	}
}

// Completer turns a function that returns proposals into a hook of urfave/cli.
func (a *Environment) Completer(words func(*Call) []string) cli.BashCompleteFunc {
	return func(flags *cli.Context) {
		if words == nil {
			return
		}
		c := &Call{Environment: a, Ctx: flags.Context, Flags: flags, Args: flags.Args().Slice(), Logger: quiet()}
		a.Propose(words(c)...)
	}
}

// PoolNames proposes pools for the first argument.
func (c *Call) PoolNames() []string {
	if len(c.Args) > 0 {
		return nil
	}
	names, _ := thinpool.List(c.Root())
	return names
}

// VolumeOnce proposes POOL and NAME, or POOL/NAME, and nothing for later arguments.
func (c *Call) VolumeOnce() []string {
	if len(splitAddress(c.Args, c.argNames())) > 1 {
		return nil
	}
	return c.VolumeNames()
}

// VolumeNames proposes POOL and any number of its volumes.
func (c *Call) VolumeNames() []string {
	if len(c.Args) == 0 {
		pool, _, slashed := strings.Cut(c.Completing, "/")
		if !slashed {
			return c.PoolNames()
		}
		var names []string
		for _, name := range c.volumesOf(pool) {
			names = append(names, pool+"/"+name)
		}
		return names
	}
	args := splitAddress(c.Args, c.argNames())
	return slices.DeleteFunc(c.volumesOf(args[0]), func(name string) bool { return slices.Contains(args[1:], name) })
}

func (c *Call) volumesOf(name string) []string {
	var names []string
	_ = c.OnPool(name, func(pool *thinpool.Pool) error {
		volumes, err := pool.Volumes(c.Ctx)
		for _, volume := range volumes {
			if volume.For != "" {
				continue // of a layer or container
			}
			names = append(names, volume.Name)
		}
		return err
	})
	return names
}

// ImageOnce proposes POOL and one image.
func (c *Call) ImageOnce() []string { return c.once(c.imagesOf) }

// ImageWords proposes POOL and any number of images.
func (c *Call) ImageWords() []string { return c.many(c.imagesOf) }

// ContainerOnce proposes POOL and one container.
func (c *Call) ContainerOnce() []string { return c.once(c.containersOf) }

// ContainerWords proposes POOL and any number of containers.
func (c *Call) ContainerWords() []string { return c.many(c.containersOf) }

// LayerWords proposes POOL and any number of layers.
func (c *Call) LayerWords() []string { return c.many(c.layersOf) }

// LayerPair proposes POOL and two layers.
func (c *Call) LayerPair() []string {
	if len(splitAddress(c.Args, c.argNames())) > 2 {
		return nil
	}
	return c.many(c.layersOf)
}

func (c *Call) once(of func(pool string) []string) []string {
	if len(splitAddress(c.Args, c.argNames())) > 1 {
		return nil
	}
	return c.many(of)
}

// many proposes pools for the first argument, and the words that of returns for the pool, without
// those already typed, for the others.
func (c *Call) many(of func(pool string) []string) []string {
	if len(c.Args) == 0 {
		return c.PoolNames()
	}
	args := splitAddress(c.Args, c.argNames())
	return slices.DeleteFunc(of(args[0]), func(word string) bool { return slices.Contains(args[1:], word) })
}

func (c *Call) imagesOf(pool string) []string {
	var words []string
	_ = c.OnPool(pool, func(pool *thinpool.Pool) error {
		all, err := c.Images(pool).Images(c.Ctx)
		for _, image := range all {
			words = append(words, Familiar(image.Names)...)
			if len(image.Names) == 0 {
				words = append(words, output.ShortID(image.Shown()))
			}
		}
		return err
	})
	return words
}

func (c *Call) containersOf(pool string) []string {
	var words []string
	_ = c.OnPool(pool, func(pool *thinpool.Pool) error {
		all, err := c.Images(pool).Layers().Containers(c.Ctx)
		for _, container := range all {
			words = append(words, container.Name)
		}
		return err
	})
	return words
}

func (c *Call) layersOf(pool string) []string {
	var words []string
	_ = c.OnPool(pool, func(pool *thinpool.Pool) error {
		all, err := c.Images(pool).Layers().Layers(c.Ctx)
		for _, layer := range all {
			words = append(words, output.ShortID(layer.ID))
		}
		return err
	})
	return words
}

// VolumePair proposes POOL and two of its volumes.
func (c *Call) VolumePair() []string {
	if len(splitAddress(c.Args, c.argNames())) > 2 {
		return nil
	}
	return c.VolumeNames()
}
