package pool

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/output"
	"thinctl/internal/remedy"
	"thinctl/thinpool"
	"thinctl/units"
)

func trimCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "trim", Args: "NAME", Usage: "free the blocks that mounted file systems do not use",
		Run: trimPool, Complete: (*command.Call).PoolNames,
	})
}

type trimView struct {
	output.Envelope
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

func trimPool(c *command.Call) error {
	return c.OnPool(c.Arg(0), func(pool *thinpool.Pool) error {
		done := c.Progress("trimming pool %s", pool.Name())
		trimmed, fault := pool.Trim(c.Ctx, c.Files)
		done()
		if fault != nil && len(trimmed.Volumes) == 0 {
			return fault
		}
		view := trimView{Envelope: output.Schema(), Pool: pool.Name(), Freed: trimmed.Pool, Host: trimmed.Host,
			Volumes: []trimmedView{}}
		for _, one := range trimmed.Volumes {
			v := trimmedView{Volume: one.Volume, Trimmed: one.Trimmed}
			if one.Err != nil {
				v.Error = remedy.Text(one.Err)
			}
			view.Volumes = append(view.Volumes, v)
		}
		return errors.Join(fault, c.Show(view, func(w io.Writer) {
			output.Row(w, "VOLUME", "TRIMMED")
			for _, v := range view.Volumes {
				output.Row(w, v.Volume, v.Trimmed)
			}
			fmt.Fprintf(w, "pool %s has %s more free, its host %s\n", view.Pool, view.Freed, view.Host)
		}))
	})
}
