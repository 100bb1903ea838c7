package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/internal/images"
	"thinctl/snapshots"
	"thinctl/units"
)

func (a *app) containerRemove() *cli.Command {
	return a.leaf(leaf{
		name: "remove", args: "POOL CONTAINER...", usage: "delete containers, and give back their blocks",
		about: "A mount in the pool's folder is unmounted. Images that were committed stay whole. Works where the pool or the host is full.",
		flags: []cli.Flag{
			&cli.BoolFlag{Name: "deferred", Usage: "take a container away that somebody has mounted: its blocks come back when they have left"},
			yesFlag(), dryRunFlag(),
		},
		run: (*call).removeContainers, complete: (*call).containerWords,
	})
}

type removedContainers struct {
	poolHead
	DryRun     bool               `json:"dry_run"`
	Containers []removedContainer `json:"containers"`
	Freed      *units.Bytes       `json:"freed_bytes"` // null where the metadata cannot be read
}

type removedContainer struct {
	containerView
	Mounts  []string     `json:"mounts"`
	Freed   *units.Bytes `json:"freed_bytes"`
	Waiting bool         `json:"waiting"`
}

func (c *call) removeContainers() error {
	return c.onImages(func(store *images.Store) error {
		view := removedContainers{poolHead: headOf(store), DryRun: c.flags.Bool("dry-run")}
		plan, err := c.planContainers(store)
		if err != nil {
			return err
		}
		if view.DryRun {
			view.take(plan)
			return c.show(view, view.write)
		}
		if err := c.confirm(promptContainers(view.Pool, plan), "yes"); err != nil {
			return err
		}
		removed, fault := c.removePlanned(store, plan)
		if fault != nil && len(removed) == 0 {
			return fault
		}
		view.take(removed)
		return errors.Join(fault, c.show(view, view.write))
	})
}

// planContainers finds the containers of all arguments: one wrong name, and none
// is removed.
func (c *call) planContainers(store *images.Store) ([]removedContainer, error) {
	var plan []removedContainer
	var faults []error
	seen := map[string]bool{}
	for _, text := range c.args[1:] {
		container, err := store.Layers().Container(c.ctx, text)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if !seen[container.ID] {
			seen[container.ID] = true
			plan = append(plan, removedContainer{containerView: newContainerView(container), Mounts: []string{}})
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	mounts, err := store.Layers().Mounts(c.ctx)
	if err != nil {
		return nil, err
	}
	for i, one := range plan {
		plan[i].Mounts = append(plan[i].Mounts, mounts[one.ID]...)
		done := c.readingSizes(store)
		freed, err := store.Layers().FreedByContainer(c.ctx, one.ID)
		done()
		if err == nil {
			plan[i].Freed = &freed
		} else if err := c.unmeasured(err); err != nil {
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
	return fmt.Sprintf("This removes %s of pool %s with all their data: %s; %s will come back.", plural(len(plan), "container"), pool, strings.Join(names, ", "), amountOf(freedBy(plan)))
}

// removePlanned goes on after a container that cannot be removed.
func (c *call) removePlanned(store *images.Store, plan []removedContainer) ([]removedContainer, error) {
	var removed []removedContainer
	var faults []error
	for _, one := range plan {
		done := c.progress("removing container %s", one.Name)
		gone, err := store.Layers().RemoveContainer(c.ctx, one.ID, snapshots.RemoveOptions{Deferred: c.flags.Bool("deferred")})
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

// freedBy is the sum; nil where a part of it is not known.
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
			fmt.Fprintf(w, "would remove container %s; %s would come back%s\n", one.Name, amountOf(one.Freed), one.mounted())
		case one.Waiting:
			fmt.Fprintf(w, "container %s removed; %s comes back when its users are gone\n", one.Name, amountOf(one.Freed))
		default:
			fmt.Fprintf(w, "container %s removed; %s came back\n", one.Name, amountOf(one.Freed))
		}
	}
}

func (v removedContainer) mounted() string {
	if len(v.Mounts) == 0 {
		return ""
	}
	return "; it is mounted at " + strings.Join(v.Mounts, " and ")
}
