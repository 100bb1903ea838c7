package container

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/units"
)

func removeCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "remove", Args: "POOL CONTAINER...", Usage: "delete containers and free their blocks",
		About: "Unmounts a container from the pool's directory. Images that were committed are kept. Works also when " +
			"the pool or the host is full.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "deferred", Usage: "also remove a container that is mounted elsewhere; its blocks are " +
				"freed after the unmount"},
			command.YesFlag(), command.DryRunFlag(),
		},
		Run: removeContainers, Complete: (*command.Call).ContainerWords,
	})
}

type removedContainers struct {
	output.PoolHead
	DryRun     bool               `json:"dry_run"`
	Containers []removedContainer `json:"containers"`
	Freed      *units.Bytes       `json:"freed_bytes"` // null if the metadata cannot be read
}

type removedContainer struct {
	content.ContainerView
	Mounts  []string     `json:"mounts"`
	Freed   *units.Bytes `json:"freed_bytes"`
	Waiting bool         `json:"waiting"`
}

func removeContainers(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		view := removedContainers{PoolHead: command.HeadOf(store), DryRun: c.Flags.Bool("dry-run")}
		plan, err := planContainers(c, store)
		if err != nil {
			return err
		}
		if view.DryRun {
			view.take(plan)
			return c.Show(view, view.write)
		}
		if err := c.Confirm(promptContainers(view.Pool, plan), "yes"); err != nil {
			return err
		}
		removed, fault := removePlanned(c, store, plan)
		if fault != nil && len(removed) == 0 {
			return fault
		}
		view.take(removed)
		return errors.Join(fault, c.Show(view, view.write))
	})
}

// planContainers finds the containers of all arguments. If one is not found, none is removed.
func planContainers(c *command.Call, store *images.Store) ([]removedContainer, error) {
	var plan []removedContainer
	var faults []error
	seen := map[string]bool{}
	for _, text := range c.Args[1:] {
		container, err := store.Layers().Container(c.Ctx, text)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if !seen[container.ID] {
			seen[container.ID] = true
			plan = append(plan, removedContainer{ContainerView: content.NewContainerView(container), Mounts: []string{}})
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	mounts, err := store.Layers().Mounts(c.Ctx)
	if err != nil {
		return nil, err
	}
	for i, one := range plan {
		plan[i].Mounts = append(plan[i].Mounts, mounts[one.ID]...)
		done := c.ReadingSizes(store)
		freed, err := store.Layers().FreedByContainer(c.Ctx, one.ID)
		done()
		if err == nil {
			plan[i].Freed = &freed
		} else if err := c.IgnoreUnmeasured(err); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

func promptContainers(pool string, plan []removedContainer) string {
	var names []string
	for _, one := range plan {
		names = append(names, one.Name)
	}
	return fmt.Sprintf("This removes %s of pool %s with all their data: %s; %s will be freed.",
		output.Plural(len(plan), "container"), pool, strings.Join(names, ", "), output.AmountOf(freedBy(plan)))
}

// removePlanned removes containers and continues after one that fails.
func removePlanned(c *command.Call, store *images.Store, plan []removedContainer) ([]removedContainer, error) {
	var removed []removedContainer
	var faults []error
	for _, one := range plan {
		done := c.Progress("removing container %s", one.Name)
		gone, err := store.Layers().RemoveContainer(c.Ctx, one.ID,
			layers.RemoveOptions{Deferred: c.Flags.Bool("deferred")})
		done()
		faults = append(faults, err)
		if gone.Container == "" {
			continue
		}
		one.Waiting = gone.Waiting
		removed = append(removed, one)
	}
	return removed, errors.Join(faults...)
}

func (v *removedContainers) take(all []removedContainer) {
	v.Containers = append([]removedContainer{}, all...)
	v.Freed = freedBy(all)
}

// freedBy returns the sum, nil if a part of it is unknown.
func freedBy(all []removedContainer) *units.Bytes {
	sum := new(units.Bytes)
	for _, one := range all {
		if one.Freed == nil {
			return nil
		}
		*sum += *one.Freed
	}
	return sum
}

func (v removedContainers) write(w io.Writer) {
	for _, one := range v.Containers {
		switch {
		case v.DryRun:
			fmt.Fprintf(w, "would remove container %s; %s would be freed%s\n", one.Name, output.AmountOf(one.Freed),
				one.mounted())
		case one.Waiting:
			fmt.Fprintf(w, "container %s removed; %s will be freed when it is no longer in use\n", one.Name,
				output.AmountOf(one.Freed))
		default:
			fmt.Fprintf(w, "container %s removed; %s freed\n", one.Name, output.AmountOf(one.Freed))
		}
	}
}

func (v removedContainer) mounted() string {
	if len(v.Mounts) == 0 {
		return ""
	}
	return "; it is mounted at " + strings.Join(v.Mounts, " and ")
}
