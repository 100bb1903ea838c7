package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
)

func (a *app) containerExport() *cli.Command {
	return a.leaf(leaf{
		name: "export", args: "POOL CONTAINER", usage: "write a container's whole file tree as a tar",
		about: "`image import` makes an image of it again, without history. The tar goes to standard output, whatever --json says, or to a new file.",
		flags: []cli.Flag{outputFlag()},
		run:   (*call).exportContainer, complete: (*call).containerOnce, long: true,
	})
}

func (c *call) exportContainer() error {
	return c.onContainer(func(store *images.Store, container snapshots.Container) error {
		view := newSavedView(headOf(store), "container "+container.Name)
		return c.toFile("output", &view, func(w io.Writer) error {
			moved, done := c.moving("exporting container %s", container.Name)
			defer done()
			return store.Export(c.ctx, container.ID, &counted{w: w, tell: moved})
		})
	})
}

// counted tells how much was written.
type counted struct {
	w    io.Writer
	n    int64
	tell func(int64)
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
