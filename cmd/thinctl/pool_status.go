package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
)

func (a *app) poolList() *cli.Command {
	return a.leaf(leaf{name: "list", usage: "list the pools", run: (*call).listPools})
}

func (a *app) poolStatus() *cli.Command {
	return a.leaf(leaf{
		name: "status", args: "[NAME]", usage: "say all of one pool, or of each",
		about: "The lines are those of Docker's info block for devicemapper, and more.",
		run:   (*call).poolStatus, complete: (*call).poolNames,
	})
}

type poolsView struct {
	envelope
	Pools []poolView `json:"pools"`
}

// statuses asks the pool of that name, or all; faults come with what was found.
func (c *call) statuses(name string, more ...func(*thinpool.Pool, *poolView) error) ([]poolView, error) {
	views := []poolView{}
	err := c.onPools(name, func(pool *thinpool.Pool) error {
		status, err := pool.Status(c.ctx)
		if err != nil {
			return err
		}
		view := c.newPoolView(status)
		for _, add := range more {
			if err := add(pool, &view); c.ctx.Err() != nil {
				return err
			} else if err != nil { // of a pool that is not sound the rest must still be told
				c.logger.Info("images and containers cannot be counted", "error", err)
			}
		}
		views = append(views, view)
		return nil
	})
	return views, err
}

// count adds how many images, layers and containers the pool has.
func (c *call) count(pool *thinpool.Pool, v *poolView) error {
	store := c.contents(pool)
	images, err := store.Images(c.ctx)
	if err != nil {
		return err
	}
	layers, err := store.Layers().Layers(c.ctx)
	if err != nil {
		return err
	}
	containers, err := store.Layers().Containers(c.ctx)
	if err != nil {
		return err
	}
	v.Images, v.Layers, v.Containers = lengthOf(images), lengthOf(layers), lengthOf(containers)
	return nil
}

// number writes what a pool that is not sound may not know.
func number(n *int) string {
	if n == nil {
		return "unknown"
	}
	return fmt.Sprint(*n)
}

func lengthOf[T any](all []T) *int {
	n := len(all)
	return &n
}

func (c *call) listPools() error {
	views, fault := c.statuses("")
	if fault != nil && len(views) == 0 {
		return fault
	}
	err := c.show(poolsView{schema(), views}, func(w io.Writer) {
		row(w, "NAME", "STATE", "DATA", "METADATA", "VOLUMES", "VIRTUAL")
		for _, v := range views {
			row(w, v.Name, v.state(), usedOf(v.Data.Used, v.Data.Total), usedOf(v.Metadata.Used, v.Metadata.Total), v.Volumes, v.VirtualBytes)
		}
	})
	if fault != nil {
		return fault
	}
	return err
}

func (c *call) poolStatus() error {
	views, fault := c.statuses(c.arg(0), c.count)
	if fault != nil && len(views) == 0 {
		return fault
	}
	var view any = poolsView{schema(), views}
	if c.arg(0) != "" {
		view = struct {
			envelope
			Pool poolView `json:"pool"`
		}{schema(), views[0]}
	}
	err := c.show(view, func(w io.Writer) {
		for i, v := range views {
			if i > 0 {
				fmt.Fprintln(w)
			}
			v.write(w)
		}
	})
	if fault != nil {
		return fault
	}
	return err
}

// write prints Docker's info lines in their order and words, then what Docker
// did not say.
func (v poolView) write(w io.Writer) {
	fact(w, "Name", v.Name)
	fact(w, "Pool Name", v.PoolName)
	fact(w, "Pool Blocksize", v.BlockBytes)
	fact(w, "Base Device Size", v.BaseBytes)
	fact(w, "Udev Sync Supported", v.UdevSync)
	fact(w, "Data file", v.Data.device())
	fact(w, "Metadata file", v.Metadata.device())
	if v.Data.isFile {
		fact(w, "Data loop file", v.Data.Path)
	}
	if v.Metadata.isFile {
		fact(w, "Metadata loop file", v.Metadata.Path)
	}
	for _, s := range []struct {
		name  string
		space spaceView
	}{{"Data", v.Data}, {"Metadata", v.Metadata}} {
		if s.space.Identity != nil {
			fact(w, s.name+" Identity", s.space.Identity)
		}
		fact(w, s.name+" Space Used", size(s.space.Used))
		fact(w, s.name+" Space Total", s.space.Total)
		fact(w, s.name+" Space Available", size(s.space.Available))
	}
	fact(w, "Thin Pool Minimum Free Space", v.MinFree)
	fact(w, "Deferred Removal Enabled", v.DeferredRemoval)
	fact(w, "Deferred Deletion Enabled", v.DeferredDelete)
	fact(w, "Deferred Deleted Device Count", v.DeferredCount)

	fact(w, "State", v.state())
	if v.TransactionID != nil {
		fact(w, "Transaction Id", *v.TransactionID)
		fact(w, "Needs Check", yesNo(*v.NeedsCheck))
		fact(w, "Discard", *v.Discard)
	}
	fact(w, "When Full", v.FullPolicy)
	fact(w, "Zeroing", yesNo(v.Zeroing))
	fact(w, "Low Water", fmt.Sprintf("%s (%d blocks)", v.LowWaterBytes, v.LowWaterBlocks))
	fact(w, "Reserve", fmt.Sprintf("data %d%%, metadata %d%%, host %d%%", v.Reserve.Data, v.Reserve.Metadata, v.Reserve.Host))
	fact(w, "Images", number(v.Images))
	fact(w, "Layers", number(v.Layers))
	fact(w, "Containers", number(v.Containers))
	fact(w, "Volumes", v.Volumes)
	fact(w, "Virtual Space", fmt.Sprintf("%s (overcommit %.2f)", v.VirtualBytes, v.Overcommit))
	if v.Data.File != nil {
		fact(w, "Data File Allocated", v.Data.File.Allocated)
	}
	if v.Metadata.File != nil {
		fact(w, "Metadata File Allocated", v.Metadata.File.Allocated)
	}
	if v.Host != nil {
		fact(w, "Host Space", fmt.Sprintf("%s available of %s", v.Host.Available, v.Host.Total))
	}
	fact(w, "UUID", v.UUID)
	fact(w, "Folder", v.Dir)
	fact(w, "Created", stamp(v.Created))
}

// device is the block device that the pool stands on; "" for a file that no
// loop device has.
func (v spaceView) device() string {
	if v.isFile {
		return v.LoopDevice
	}
	return v.Path
}
