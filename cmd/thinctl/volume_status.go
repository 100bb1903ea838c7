package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) volumeList() *cli.Command {
	return a.leaf(leaf{
		name: "list", args: "POOL", usage: "list a pool's volumes",
		about: "Those that are kept for layers and containers are left out, unless all are asked for: `layer` and `container` commands are for them.",
		flags: []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also those that are kept for layers and containers"}},
		run:   (*call).listVolumes, complete: (*call).poolNames,
	})
}

func (a *app) volumeStatus() *cli.Command {
	return a.leaf(leaf{
		name: "status", args: "POOL NAME", usage: "say all of one volume, and who has it mounted or open",
		run: (*call).volumeStatus, complete: (*call).volumeOnce,
	})
}

func (c *call) listVolumes() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		volumes, err := pool.Volumes(c.ctx)
		if err != nil {
			return err
		}
		views := []volumeView{}
		all := c.flags.Bool("all")
		for _, volume := range volumes {
			if volume.For != "" && !all {
				continue
			}
			views = append(views, newVolumeView(pool.Name(), volume))
		}
		return c.show(struct {
			envelope
			Pool    string       `json:"pool"`
			Volumes []volumeView `json:"volumes"`
		}{schema(), pool.Name(), views}, func(w io.Writer) {
			if all {
				row(w, "NAME", "SIZE", "FOR", "ORIGIN", "CREATED", "ACTIVE", "ID")
			} else {
				row(w, "NAME", "SIZE", "ORIGIN", "CREATED", "ACTIVE", "ID")
			}
			for _, v := range views {
				cells := []any{v.Name, v.SizeBytes, v.Origin, stamp(v.Created), yesNo(v.Active), v.ID}
				if all {
					cells = slices.Insert(cells, 2, any(v.For))
				}
				row(w, cells...)
			}
		})
	})
}

type volumeStatusView struct {
	volumeView
	Suspended    bool         `json:"suspended"`
	Failed       bool         `json:"failed"`
	Open         int          `json:"open_count"`
	MappedBytes  *units.Bytes `json:"mapped_bytes"`
	HighestBytes *units.Bytes `json:"highest_mapped_bytes"`
	Mounts       []mountView  `json:"mounts"`
	Holders      []holderView `json:"holders"`
	// Incomplete says why some holders may be missing.
	Incomplete string `json:"holders_incomplete,omitempty"`
}

type mountView struct {
	Path       string `json:"path"`
	FileSystem string `json:"file_system"`
	ReadOnly   bool   `json:"read_only"`
}

type holderView struct {
	Namespace uint64        `json:"mount_namespace"`
	Own       bool          `json:"own_namespace"`
	Mounts    []string      `json:"mounts"`
	Processes []processView `json:"processes"`
}

type processView struct {
	PID     int      `json:"pid"`
	Command string   `json:"command"`
	Device  bool     `json:"device_open"`
	Files   []string `json:"files"`
}

func (c *call) volumeStatus() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		status, err := pool.VolumeStatus(c.ctx, c.arg(1))
		if err != nil {
			return err
		}
		view, err := c.newVolumeStatusView(pool.Name(), status)
		if err != nil {
			return err
		}
		return c.show(struct {
			envelope
			Volume volumeStatusView `json:"volume"`
		}{schema(), view}, view.write)
	})
}

func (c *call) newVolumeStatusView(pool string, s thinpool.VolumeStatus) (volumeStatusView, error) {
	v := volumeStatusView{volumeView: newVolumeView(pool, s.Volume), Suspended: s.Suspended, Failed: s.Failed, Open: s.Open,
		Mounts: []mountView{}, Holders: []holderView{}}
	if !s.Active {
		return v, nil
	}
	if !s.Failed {
		v.MappedBytes, v.HighestBytes = &s.Mapped, &s.Highest
	}
	mounts, err := c.files.Mounts(s.Dev)
	if err != nil {
		return v, err
	}
	for _, m := range mounts {
		v.Mounts = append(v.Mounts, mountView{m.Path, m.Type, m.ReadOnly})
	}
	holders, err := c.files.Holders(c.ctx, s.Dev)
	if errors.Is(err, filesystem.ErrIncomplete) {
		v.Incomplete, err = err.Error(), nil
	}
	for _, h := range holders {
		v.Holders = append(v.Holders, newHolderView(h))
	}
	return v, err
}

func newHolderView(h filesystem.Holder) holderView {
	view := holderView{Namespace: h.Namespace, Own: h.Own, Mounts: append([]string{}, h.MountPoints...), Processes: []processView{}}
	for _, p := range h.Processes {
		view.Processes = append(view.Processes, processView{p.PID, p.Command, p.Device, append([]string{}, p.Files...)})
	}
	return view
}

func (v volumeStatusView) write(w io.Writer) {
	fact(w, "Pool", v.Pool)
	fact(w, "Name", v.Name)
	fact(w, "Size", v.SizeBytes)
	fact(w, "Origin", v.Origin)
	if v.For != "" {
		fact(w, "Kept for", "a "+v.For)
	}
	fact(w, "Created", stamp(v.Created))
	fact(w, "Device Id", v.ID)
	fact(w, "State", v.state())
	if !v.Active {
		return
	}
	fact(w, "Device", fmt.Sprintf("%s (%s)", v.Node, v.DeviceNumber))
	fact(w, "Mapped", size(v.MappedBytes))
	fact(w, "Highest Mapped", size(v.HighestBytes))
	fact(w, "Open", plural(v.Open, "time"))
	for _, m := range v.Mounts {
		fact(w, "Mounted", fmt.Sprintf("%s, %s%s", m.Path, m.FileSystem, map[bool]string{true: ", read-only"}[m.ReadOnly]))
	}
	for _, h := range v.Holders {
		fact(w, "Held by", h)
	}
	if v.Incomplete != "" {
		fact(w, "Held by", "perhaps others: "+v.Incomplete)
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

func (v holderView) String() string {
	where := fmt.Sprintf("mount namespace %d", v.Namespace)
	if v.Own {
		where = "this mount namespace"
	}
	parts := []string{where}
	if len(v.Mounts) > 0 {
		parts = append(parts, "mounted at "+strings.Join(v.Mounts, " and "))
	}
	for _, p := range v.Processes {
		parts = append(parts, fmt.Sprintf("%s (pid %d)", p.Command, p.PID))
	}
	return strings.Join(parts, ", ")
}
