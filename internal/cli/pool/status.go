package pool

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/thinpool"
)

func listCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{Name: "list", Usage: "list the pools", Run: listPools})
}

func statusCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "status", Args: "[NAME]", Usage: "show one pool in detail, or all pools",
		About: "The lines are those of docker info for the devicemapper driver, and more.",
		Run:   showStatus, Complete: (*command.Call).PoolNames,
	})
}

type poolsView struct {
	output.Envelope
	Pools []poolView `json:"pools"`
}

// statuses returns the status of one pool or of all pools, together with any errors.
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
			} else if err != nil { // an unhealthy pool: show the rest
				c.Logger.Info("images and containers cannot be counted", "error", err)
			}
		}
		views = append(views, view)
		return nil
	})
	return views, err
}

// countContents adds the number of images, layers and containers.
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

// formatCount formats a count that may be unknown.
func formatCount(n *int) string {
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
			output.Row(w, v.Name, v.state(), output.UsedOf(v.Data.Used, v.Data.Total),
				output.UsedOf(v.Metadata.Used, v.Metadata.Total), v.Volumes, v.VirtualBytes)
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

// write prints the lines of Docker's info block in their order and words, then further lines.
func (v poolView) write(w io.Writer) {
	output.Field(w, "Name", v.Name)
	output.Field(w, "Pool Name", v.PoolName)
	output.Field(w, "Pool Blocksize", v.BlockBytes)
	output.Field(w, "Base Device Size", v.BaseBytes)
	output.Field(w, "Udev Sync Supported", v.UdevSync)
	output.Field(w, "Data file", v.Data.device())
	output.Field(w, "Metadata file", v.Metadata.device())
	if v.Data.isFile {
		output.Field(w, "Data loop file", v.Data.Path)
	}
	if v.Metadata.isFile {
		output.Field(w, "Metadata loop file", v.Metadata.Path)
	}
	for _, s := range []struct {
		name  string
		space spaceView
	}{{"Data", v.Data}, {"Metadata", v.Metadata}} {
		if s.space.Identity != nil {
			output.Field(w, s.name+" Identity", s.space.Identity)
		}
		output.Field(w, s.name+" Space Used", output.Size(s.space.Used))
		output.Field(w, s.name+" Space Total", s.space.Total)
		output.Field(w, s.name+" Space Available", output.Size(s.space.Available))
	}
	output.Field(w, "Thin Pool Minimum Free Space", v.MinFree)
	output.Field(w, "Deferred Removal Enabled", v.DeferredRemoval)
	output.Field(w, "Deferred Deletion Enabled", v.DeferredDelete)
	output.Field(w, "Deferred Deleted Device Count", v.DeferredCount)

	output.Field(w, "State", v.state())
	if v.TransactionID != nil {
		output.Field(w, "Transaction Id", *v.TransactionID)
		output.Field(w, "Needs Check", output.YesNo(*v.NeedsCheck))
		output.Field(w, "Discard", *v.Discard)
	}
	output.Field(w, "When Full", v.FullPolicy)
	output.Field(w, "Zeroing", output.YesNo(v.Zeroing))
	output.Field(w, "Low Water", fmt.Sprintf("%s (%d blocks)", v.LowWaterBytes, v.LowWaterBlocks))
	output.Field(w, "Reserve", fmt.Sprintf("data %d%%, metadata %d%%, host %d%%", v.Reserve.Data, v.Reserve.Metadata,
		v.Reserve.Host))
	output.Field(w, "Images", formatCount(v.Images))
	output.Field(w, "Layers", formatCount(v.Layers))
	output.Field(w, "Containers", formatCount(v.Containers))
	output.Field(w, "Volumes", v.Volumes)
	output.Field(w, "Virtual Space", fmt.Sprintf("%s (overcommit %.2f)", v.VirtualBytes, v.Overcommit))
	if v.Data.File != nil {
		output.Field(w, "Data File Allocated", v.Data.File.Allocated)
	}
	if v.Metadata.File != nil {
		output.Field(w, "Metadata File Allocated", v.Metadata.File.Allocated)
	}
	if v.Host != nil {
		output.Field(w, "Host Space", fmt.Sprintf("%s available of %s", v.Host.Available, v.Host.Total))
	}
	output.Field(w, "UUID", v.UUID)
	output.Field(w, "Directory", v.Dir)
	output.Field(w, "Created", output.Stamp(v.Created))
}

// device returns the block device that the pool uses, "" for a file without a loop device.
func (v spaceView) device() string {
	if v.isFile {
		return v.LoopDevice
	}
	return v.Path
}
