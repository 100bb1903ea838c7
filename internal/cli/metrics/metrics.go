// Package metrics has the command that prints metrics once.
package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/exit"
	"thinctl/internal/daemon/sampler"
	"thinctl/internal/newfile"
	"thinctl/metrics"
	"thinctl/thinpool"
)

// Command returns `thinctl metrics`.
func Command(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "metrics", Args: "[POOL...]", Usage: "print the metrics of pools once",
		About: "Prints Prometheus' text format, also with --json, for the textfile collector of node_exporter. Takes " +
			"no lock and commits nothing. " +
			"A pool that cannot be read has thinctl_pool_sample_success 0; the other pools are printed, and the exit code " +
			"is not 0. " +
			"Ages and the counters of `thinctl serve` are left out.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Usage: "write to this `FILE` instead, atomically, with mode 0644; " +
				"node_exporter reads names that end in .prom"},
			&cli.IntFlag{Name: "volumes", Value: metrics.DefaultVolumeLimit,
				Usage: "list single volumes of pools with at most this `NUMBER` of volumes and containers"},
		},
		Run: printMetrics, Complete: poolNamesOnce,
	})
}

func printMetrics(c *command.Call) error {
	limit := c.Flags.Int("volumes")
	if limit < 0 {
		return c.Misuse("--volumes %d: must not be negative", limit)
	}
	var samples []metrics.Sample
	faults := c.OnHost(func() error {
		names, err := chosenPools(c)
		if err != nil {
			return err
		}
		samples = []metrics.Sample{}
		var faults []error
		for _, name := range names {
			sample := sampler.Take(c.Ctx, c.Host, c.Root(), name, sampler.Options{VolumeLimit: limit})
			samples, faults = append(samples, sample), append(faults, sample.Err)
		}
		return errors.Join(faults...)
	})
	if samples == nil || errors.Is(context.Cause(c.Ctx), exit.ErrInterrupted) {
		return faults
	}
	var text bytes.Buffer
	err := metrics.WriteText(&text, samples, metrics.Options{VolumeLimit: limit, Version: command.ProgramVersion()})
	return errors.Join(faults, err, writeText(c, text.Bytes()))
}

// chosenPools returns the pools in the arguments, each once, or all pools.
func chosenPools(c *command.Call) ([]string, error) {
	if len(c.Args) > 0 {
		for _, name := range c.Args {
			if err := thinpool.CheckPoolName(name); err != nil {
				return nil, err
			}
		}
		return slices.Compact(slices.Sorted(slices.Values(c.Args))), nil
	}
	names, err := thinpool.List(c.Root())
	if err != nil {
		return nil, fmt.Errorf("list the pools of %s: %w", c.Root(), err)
	}
	return names, nil
}

// writeText writes to standard output, or replaces the file of --output atomically.
func writeText(c *command.Call, text []byte) (err error) {
	path := c.Flags.String("output")
	if path == "" {
		_, err := c.Out.Write(text)
		return err
	}
	file, err := newfile.Create(path, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Chmod(0o644); err != nil {
		return fmt.Errorf("make %s readable: %w", path, err)
	}
	return file.Commit()
}

// poolNamesOnce proposes pools that are not in the arguments.
func poolNamesOnce(c *command.Call) []string {
	names, _ := thinpool.List(c.Root())
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(c.Args, name) })
}
