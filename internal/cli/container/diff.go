package container

import (
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/changes"
	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/images"
	"thinctl/internal/layers"
)

func diffCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "diff", Args: "POOL CONTAINER", Usage: "list the files that a container has changed",
		About: "A means added, C changed, D deleted; the order is that of docker diff. The container may be in use.",
		Flags: content.DiffFlags(),
		Run:   diffContainer, Complete: (*command.Call).ContainerOnce, Long: true,
	})
}

func diffContainer(c *command.Call) error {
	return onContainer(c, func(store *images.Store, container layers.Container) error {
		return content.Diff(c, store, content.ChangesView{Upper: container.ID},
			func(visit func(changes.Change) error) error {
				return store.Layers().ContainerChanges(c.Ctx, container.ID, visit)
			},
			func(w io.Writer) error { return store.WriteContainerChanges(c.Ctx, container.ID, w) })
	})
}
