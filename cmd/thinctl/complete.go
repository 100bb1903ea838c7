package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
)

// completionMark is cli's: the last word of a command line that asks for
// proposals. The word before it is the one under the cursor, maybe empty.
const completionMark = "--generate-bash-completion"

// complete proposes words, one a line. It says nothing where it knows nothing.
func (a *app) complete(ctx context.Context, root *cli.App, words []string) error {
	if len(words) > 0 {
		a.completing = words[len(words)-1]
		words = words[:len(words)-1]
	}
	line := arrangeSoFar(root, words)
	switch {
	case line.open != nil:
		a.propose(flagValues(line.open.Names()[0])...)
	case strings.HasPrefix(a.completing, "-"):
		for _, flag := range slices.Concat(line.command.Flags, root.Flags) {
			a.propose("--" + flag.Names()[0])
		}
		a.propose("--help")
	case len(line.command.Subcommands) > 0:
		for _, command := range line.command.VisibleCommands() {
			a.propose(command.Name)
		}
	default:
		run := slices.Concat([]string{"thinctl"}, line.globals, line.path, line.args, []string{completionMark})
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_ = root.RunContext(ctx, run)
	}
	return nil
}

// arrangeSoFar takes an unfinished line apart and passes over its faults.
func arrangeSoFar(root *cli.App, words []string) line {
	s := scan{root: root, line: line{command: &cli.Command{Subcommands: root.Commands}}}
	for _, word := range words {
		_ = s.take(word)
	}
	s.args = slices.DeleteFunc(s.args, func(arg string) bool { return strings.HasPrefix(arg, "-") })
	return s.line
}

func flagValues(name string) []string {
	switch name {
	case "fs":
		return []string{"ext4", "xfs"}
	case "format":
		return []string{"docker", "oci"}
	case "full":
		return []string{"queue", "error"}
	case "log-format":
		return []string{"text", "json"}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	}
	return nil
}

func (a *app) propose(words ...string) {
	for _, word := range words {
		if strings.HasPrefix(word, a.completing) {
			fmt.Fprintln(a.out, word)
		}
	}
}

// completer makes cli's hook from a function that knows an argument's words.
func (a *app) completer(words func(*call) []string) cli.BashCompleteFunc {
	return func(flags *cli.Context) {
		if words == nil {
			return
		}
		c := &call{app: a, ctx: flags.Context, flags: flags, args: flags.Args().Slice(), logger: quiet()}
		a.propose(words(c)...)
	}
}

// poolNames proposes pools for the first argument.
func (c *call) poolNames() []string {
	if len(c.args) > 0 {
		return nil
	}
	names, _ := thinpool.List(c.root())
	return names
}

// volumeOnce proposes POOL, then NAME, or POOL/NAME; for what comes after them
// nothing.
func (c *call) volumeOnce() []string {
	if len(splitAddress(c.args, c.argNames())) > 1 {
		return nil
	}
	return c.volumeNames()
}

// volumeNames proposes POOL, then any number of its volumes.
func (c *call) volumeNames() []string {
	if len(c.args) == 0 {
		pool, _, slashed := strings.Cut(c.completing, "/")
		if !slashed {
			return c.poolNames()
		}
		var names []string
		for _, name := range c.volumesOf(pool) {
			names = append(names, pool+"/"+name)
		}
		return names
	}
	args := splitAddress(c.args, c.argNames())
	return slices.DeleteFunc(c.volumesOf(args[0]), func(name string) bool { return slices.Contains(args[1:], name) })
}

func (c *call) volumesOf(name string) []string {
	var names []string
	_ = c.onPool(name, func(pool *thinpool.Pool) error {
		volumes, err := pool.Volumes(c.ctx)
		for _, volume := range volumes {
			if volume.For != "" {
				continue // nobody mounts or removes those by hand
			}
			names = append(names, volume.Name)
		}
		return err
	})
	return names
}

// imageOnce proposes POOL, then an image; imageWords any number of them.
func (c *call) imageOnce() []string { return c.once(c.imagesOf) }

func (c *call) imageWords() []string { return c.many(c.imagesOf) }

func (c *call) containerOnce() []string { return c.once(c.containersOf) }

func (c *call) containerWords() []string { return c.many(c.containersOf) }

func (c *call) layerWords() []string { return c.many(c.layersOf) }

func (c *call) layerPair() []string {
	if len(splitAddress(c.args, c.argNames())) > 2 {
		return nil
	}
	return c.many(c.layersOf)
}

func (c *call) once(of func(pool string) []string) []string {
	if len(splitAddress(c.args, c.argNames())) > 1 {
		return nil
	}
	return c.many(of)
}

// many proposes pools for the first argument, then what of gives for the pool and
// is not there yet.
func (c *call) many(of func(pool string) []string) []string {
	if len(c.args) == 0 {
		return c.poolNames()
	}
	args := splitAddress(c.args, c.argNames())
	return slices.DeleteFunc(of(args[0]), func(word string) bool { return slices.Contains(args[1:], word) })
}

func (c *call) imagesOf(pool string) []string {
	var words []string
	_ = c.onPool(pool, func(pool *thinpool.Pool) error {
		all, err := c.contents(pool).Images(c.ctx)
		for _, image := range all {
			words = append(words, familiar(image.Names)...)
			if len(image.Names) == 0 {
				words = append(words, shortID(image.Shown()))
			}
		}
		return err
	})
	return words
}

func (c *call) containersOf(pool string) []string {
	var words []string
	_ = c.onPool(pool, func(pool *thinpool.Pool) error {
		all, err := c.contents(pool).Layers().Containers(c.ctx)
		for _, container := range all {
			words = append(words, container.Name)
		}
		return err
	})
	return words
}

func (c *call) layersOf(pool string) []string {
	var words []string
	_ = c.onPool(pool, func(pool *thinpool.Pool) error {
		all, err := c.contents(pool).Layers().Layers(c.ctx)
		for _, layer := range all {
			words = append(words, shortID(layer.ID))
		}
		return err
	})
	return words
}
