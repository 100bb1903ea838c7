package volume

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func listCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "list", Args: "POOL", Usage: "list a pool's volumes",
		About: "Without --all it leaves out the volumes of layers and containers, which have `layer` and `container` " +
			"commands.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"},
			Usage: "also list the volumes of layers and containers"}},
		Run: listVolumes, Complete: (*command.Call).PoolNames,
	})
}

func statusCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "status", Args: "POOL NAME", Usage: "show one volume in detail, with its mounts and open handles",
		Run: showStatus, Complete: (*command.Call).VolumeOnce,
	})
}

func listVolumes(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		volumes, err := pool.Volumes(c.Ctx)
		if err != nil {
			return err
		}
		views := []volumeView{}
		all := c.Flags.Bool("all")
		for _, volume := range volumes {
			if volume.For != "" && !all {
				continue
			}
			views = append(views, newVolumeView(pool.Name(), volume))
		}
		return c.Show(struct {
			output.Envelope
			Pool    string       `json:"pool"`
			Volumes []volumeView `json:"volumes"`
		}{output.Schema(), pool.Name(), views}, func(w io.Writer) {
			if all {
				output.Row(w, "NAME", "SIZE", "FOR", "ORIGIN", "CREATED", "ACTIVE", "ID")
			} else {
				output.Row(w, "NAME", "SIZE", "ORIGIN", "CREATED", "ACTIVE", "ID")
			}
			for _, v := range views {
				cells := []any{v.Name, v.SizeBytes, v.Origin, output.Stamp(v.Created), output.YesNo(v.Active), v.ID}
				if all {
					cells = slices.Insert(cells, 2, any(v.For))
				}
				output.Row(w, cells...)
			}
		})
	})
}

type volumeStatusView struct {
	volumeView
	Suspended    bool            `json:"suspended"`
	Failed       bool            `json:"failed"`
	Open         int             `json:"open_count"`
	MappedBytes  *units.Bytes    `json:"mapped_bytes"`
	HighestBytes *units.Bytes    `json:"highest_mapped_bytes"`
	Mounts       []mountView     `json:"mounts"`
	Holders      []output.Holder `json:"holders"`
	// Incomplete is the reason why holders may be missing.
	Incomplete string `json:"holders_incomplete,omitempty"`
}

type mountView struct {
	Path       string `json:"path"`
	FileSystem string `json:"file_system"`
	ReadOnly   bool   `json:"read_only"`
}

func showStatus(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		status, err := pool.VolumeStatus(c.Ctx, c.Arg(1))
		if err != nil {
			return err
		}
		view, err := newVolumeStatusView(c, pool.Name(), status)
		if err != nil {
			return err
		}
		return c.Show(struct {
			output.Envelope
			Volume volumeStatusView `json:"volume"`
		}{output.Schema(), view}, view.write)
	})
}

func newVolumeStatusView(c *command.Call, pool string, s thinpool.VolumeStatus) (volumeStatusView, error) {
	v := volumeStatusView{volumeView: newVolumeView(pool, s.Volume), Suspended: s.Suspended, Failed: s.Failed,
		Open:   s.Open,
		Mounts: []mountView{}, Holders: []output.Holder{}}
	if !s.Active {
		return v, nil
	}
	if !s.Failed {
		v.MappedBytes, v.HighestBytes = &s.Mapped, &s.Highest
	}
	mounts, err := c.Files.Mounts(s.Dev)
	if err != nil {
		return v, err
	}
	for _, m := range mounts {
		v.Mounts = append(v.Mounts, mountView{m.Path, m.Type, m.ReadOnly})
	}
	holders, err := c.Files.Holders(c.Ctx, s.Dev)
	if errors.Is(err, filesystem.ErrIncomplete) {
		v.Incomplete, err = err.Error(), nil
	}
	for _, h := range holders {
		v.Holders = append(v.Holders, output.NewHolder(h))
	}
	return v, err
}

func (v volumeStatusView) write(w io.Writer) {
	output.Field(w, "Pool", v.Pool)
	output.Field(w, "Name", v.Name)
	output.Field(w, "Size", v.SizeBytes)
	output.Field(w, "Origin", v.Origin)
	if v.For != "" {
		output.Field(w, "Belongs to", "a "+v.For)
	}
	output.Field(w, "Created", output.Stamp(v.Created))
	output.Field(w, "Device Id", v.ID)
	output.Field(w, "State", v.state())
	if !v.Active {
		return
	}
	output.Field(w, "Device", fmt.Sprintf("%s (%s)", v.Node, v.DeviceNumber))
	output.Field(w, "Mapped", output.Size(v.MappedBytes))
	output.Field(w, "Highest Mapped", output.Size(v.HighestBytes))
	output.Field(w, "Open", output.Plural(v.Open, "time"))
	for _, m := range v.Mounts {
		output.Field(w, "Mounted", fmt.Sprintf("%s, %s%s", m.Path, m.FileSystem,
			map[bool]string{true: ", read-only"}[m.ReadOnly]))
	}
	for _, h := range v.Holders {
		output.Field(w, "Held by", h)
	}
	if v.Incomplete != "" {
		output.Field(w, "Held by", "possibly others: "+v.Incomplete)
	}
}

func (v volumeStatusView) state() string {
	switch {
	case !v.Active:
		return "inactive"
	case v.Failed:
		return "failed"
	case v.Suspended:
		return "suspended"
	}
	return "active"
}
