package pool

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
)

func listCommand(a *command.Environment) *cli.Command {
	return a.Command(command.Spec{Name: "list", Usage: "list the pools", Run: listPools})
}

func statusCommand(a *command.Environment) *cli.Command {
	return a.Command(command.Spec{
		Name: "status", Args: "[NAME]", Usage: "show one pool in detail, or all pools",
		About: "The lines are those of docker info for the devicemapper driver, and more.",
		Run:   showStatus, Complete: (*command.Call).PoolNames,
	})
}

type poolsView struct {
	output.Envelope
	Pools []poolView `json:"pools"`
}

// statuses asks the pool of that name, or all; faults come with what was found.
func statuses(c *command.Call, name string, more ...func(*thinpool.Pool, *poolView) error) ([]poolView, error) {
	views := []poolView{}
	err := c.OnPools(name, func(pool *thinpool.Pool) error {
		status, err := pool.Status(c.Ctx)
		if err != nil {
			return err
		}
		view := newPoolView(c, status)
		for _, add := range more {
			if err := add(pool, &view); c.Ctx.Err() != nil {
				return err
			} else if err != nil { // of a pool that is not sound the rest must still be told
				c.Logger.Info("images and containers cannot be counted", "error", err)
			}
		}
		views = append(views, view)
		return nil
	})
	return views, err
}

// countContents adds how many images, layers and containers the pool has.
func countContents(c *command.Call, pool *thinpool.Pool, v *poolView) error {
	store := c.Images(pool)
	images, err := store.Images(c.Ctx)
	if err != nil {
		return err
	}
	layers, err := store.Layers().Layers(c.Ctx)
	if err != nil {
		return err
	}
	containers, err := store.Layers().Containers(c.Ctx)
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

func listPools(c *command.Call) error {
	views, fault := statuses(c, "")
	if fault != nil && len(views) == 0 {
		return fault
	}
	err := c.Show(poolsView{output.Schema(), views}, func(w io.Writer) {
		output.Row(w, "NAME", "STATE", "DATA", "METADATA", "VOLUMES", "VIRTUAL")
		for _, v := range views {
			output.Row(w, v.Name, v.state(), output.UsedOf(v.Data.Used, v.Data.Total), output.UsedOf(v.Metadata.Used, v.Metadata.Total), v.Volumes, v.VirtualBytes)
		}
	})
	if fault != nil {
		return fault
	}
	return err
}

func showStatus(c *command.Call) error {
	views, fault := statuses(c, c.Arg(0), func(p *thinpool.Pool, v *poolView) error { return countContents(c, p, v) })
	if fault != nil && len(views) == 0 {
		return fault
	}
	var view any = poolsView{output.Schema(), views}
	if c.Arg(0) != "" {
		view = struct {
			output.Envelope
			Pool poolView `json:"pool"`
		}{output.Schema(), views[0]}
	}
	err := c.Show(view, func(w io.Writer) {
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
	output.Fact(w, "Name", v.Name)
	output.Fact(w, "Pool Name", v.PoolName)
	output.Fact(w, "Pool Blocksize", v.BlockBytes)
	output.Fact(w, "Base Device Size", v.BaseBytes)
	output.Fact(w, "Udev Sync Supported", v.UdevSync)
	output.Fact(w, "Data file", v.Data.device())
	output.Fact(w, "Metadata file", v.Metadata.device())
	if v.Data.isFile {
		output.Fact(w, "Data loop file", v.Data.Path)
	}
	if v.Metadata.isFile {
		output.Fact(w, "Metadata loop file", v.Metadata.Path)
	}
	for _, s := range []struct {
		name  string
		space spaceView
	}{{"Data", v.Data}, {"Metadata", v.Metadata}} {
		if s.space.Identity != nil {
			output.Fact(w, s.name+" Identity", s.space.Identity)
		}
		output.Fact(w, s.name+" Space Used", output.Size(s.space.Used))
		output.Fact(w, s.name+" Space Total", s.space.Total)
		output.Fact(w, s.name+" Space Available", output.Size(s.space.Available))
	}
	output.Fact(w, "Thin Pool Minimum Free Space", v.MinFree)
	output.Fact(w, "Deferred Removal Enabled", v.DeferredRemoval)
	output.Fact(w, "Deferred Deletion Enabled", v.DeferredDelete)
	output.Fact(w, "Deferred Deleted Device Count", v.DeferredCount)

	output.Fact(w, "State", v.state())
	if v.TransactionID != nil {
		output.Fact(w, "Transaction Id", *v.TransactionID)
		output.Fact(w, "Needs Check", output.YesNo(*v.NeedsCheck))
		output.Fact(w, "Discard", *v.Discard)
	}
	output.Fact(w, "When Full", v.FullPolicy)
	output.Fact(w, "Zeroing", output.YesNo(v.Zeroing))
	output.Fact(w, "Low Water", fmt.Sprintf("%s (%d blocks)", v.LowWaterBytes, v.LowWaterBlocks))
	output.Fact(w, "Reserve", fmt.Sprintf("data %d%%, metadata %d%%, host %d%%", v.Reserve.Data, v.Reserve.Metadata, v.Reserve.Host))
	output.Fact(w, "Images", number(v.Images))
	output.Fact(w, "Layers", number(v.Layers))
	output.Fact(w, "Containers", number(v.Containers))
	output.Fact(w, "Volumes", v.Volumes)
	output.Fact(w, "Virtual Space", fmt.Sprintf("%s (overcommit %.2f)", v.VirtualBytes, v.Overcommit))
	if v.Data.File != nil {
		output.Fact(w, "Data File Allocated", v.Data.File.Allocated)
	}
	if v.Metadata.File != nil {
		output.Fact(w, "Metadata File Allocated", v.Metadata.File.Allocated)
	}
	if v.Host != nil {
		output.Fact(w, "Host Space", fmt.Sprintf("%s available of %s", v.Host.Available, v.Host.Total))
	}
	output.Fact(w, "UUID", v.UUID)
	output.Fact(w, "Directory", v.Dir)
	output.Fact(w, "Created", output.Stamp(v.Created))
}

// device is the block device that the pool stands on; "" for a file that no
// loop device has.
func (v spaceView) device() string {
	if v.isFile {
		return v.LoopDevice
	}
	return v.Path
}
