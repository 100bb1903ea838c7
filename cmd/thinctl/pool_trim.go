package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/thinpool"
	"thinctl/units"
)

func (a *app) poolTrim() *cli.Command {
	return a.leaf(leaf{
		name: "trim", args: "NAME", usage: "give back what mounted file systems do not use",
		run: (*call).trimPool, complete: (*call).poolNames,
	})
}

type trimView struct {
	envelope
	Pool    string        `json:"pool"`
	Freed   units.Bytes   `json:"pool_freed_bytes"`
	Host    units.Bytes   `json:"host_freed_bytes"`
	Volumes []trimmedView `json:"volumes"`
}

type trimmedView struct {
	Volume  string      `json:"volume"`
	Trimmed units.Bytes `json:"trimmed_bytes"`
	Error   string      `json:"error,omitempty"`
}

func (c *call) trimPool() error {
	return c.onPool(c.arg(0), func(pool *thinpool.Pool) error {
		done := c.progress("trimming pool %s", pool.Name())
		trimmed, fault := pool.Trim(c.ctx, c.files)
		done()
		if fault != nil && len(trimmed.Volumes) == 0 {
			return fault
		}
		view := trimView{envelope: schema(), Pool: pool.Name(), Freed: trimmed.Pool, Host: trimmed.Host, Volumes: []trimmedView{}}
		for _, one := range trimmed.Volumes {
			v := trimmedView{Volume: one.Volume, Trimmed: one.Trimmed}
			if one.Err != nil {
				v.Error = one.Err.Error()
			}
			view.Volumes = append(view.Volumes, v)
		}
		return errors.Join(fault, c.show(view, func(w io.Writer) {
			row(w, "VOLUME", "TRIMMED")
			for _, v := range view.Volumes {
				row(w, v.Volume, v.Trimmed)
			}
			fmt.Fprintf(w, "pool %s has %s more free, its host %s\n", view.Pool, view.Freed, view.Host)
		}))
	})
}
