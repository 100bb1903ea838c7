package container

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/internal/layers"
)

func exportCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "export", Args: "POOL CONTAINER", Usage: "write the file tree of a container as a tar",
		About: "`image import` creates an image from it, without history. The tar goes to standard output, also with " +
			"--json, or to a new file.",
		Flags: []cli.Flag{content.OutputFlag()},
		Run:   exportContainer, Complete: (*command.Call).ContainerOnce, Long: true,
	})
}

func exportContainer(c *command.Call) error {
	return onContainer(c, func(store *images.Store, container layers.Container) error {
		view := content.NewSavedView(command.HeadOf(store), "container "+container.Name)
		return content.ToFile(c, "output", &view, func(w io.Writer) error {
			moved, done := c.Moving("exporting container %s", container.Name)
			defer done()
			return store.Export(c.Ctx, container.ID, &countingWriter{w: w, report: moved})
		})
	})
}

// countingWriter reports the number of bytes written.
type countingWriter struct {
	w      io.Writer
	n      int64
	report func(int64)
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
