package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"thinctl/internal/daemon/sampler"
	"thinctl/metrics"
	"thinctl/thinpool"
)

func (a *app) metricsCommand() *cli.Command {
	return a.leaf(leaf{
		name: "metrics", args: "[POOL...]", usage: "print what Prometheus would see of the pools, once",
		about: "Writes the text format, for the textfile collector of node_exporter, with --json too. No lock is taken and nothing is committed. " +
			"A pool that cannot be read has thinctl_pool_sample_success 0; the others are written all the same, and the exit code tells. " +
			"What only holds at the moment of a scrape, and what `thinctl serve` counts, is not in it.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Usage: "write this `FILE` instead, in one step, 0644; node_exporter reads names that end in .prom"},
			&cli.IntFlag{Name: "volumes", Value: metrics.DefaultVolumeLimit, Usage: "list volumes one by one in pools that have at most this `NUMBER` of volumes and containers"},
		},
		run: (*call).printMetrics, complete: (*call).poolNamesOnce,
	})
}

func (c *call) printMetrics() error {
	limit := c.flags.Int("volumes")
	if limit < 0 {
		return c.misuse("--volumes cannot be %d", limit)
	}
	var samples []metrics.Sample
	faults := c.onHost(func() error {
		names, err := c.asked()
		if err != nil {
			return err
		}
		samples = []metrics.Sample{}
		var faults []error
		for _, name := range names {
			sample := sampler.Take(c.ctx, c.host, c.root(), name, sampler.Options{VolumeLimit: limit})
			samples, faults = append(samples, sample), append(faults, sample.Err)
		}
		return errors.Join(faults...)
	})
	if samples == nil || errors.Is(context.Cause(c.ctx), errInterrupted) {
		return faults
	}
	var text bytes.Buffer
	err := metrics.WriteText(&text, samples, metrics.Options{VolumeLimit: limit, Version: programVersion()})
	return errors.Join(faults, err, c.deliver(text.Bytes()))
}

// asked are the pools that the command line names, each once; all where it names
// none.
func (c *call) asked() ([]string, error) {
	if len(c.args) > 0 {
		for _, name := range c.args {
			if err := thinpool.CheckPoolName(name); err != nil {
				return nil, err
			}
		}
		return slices.Compact(slices.Sorted(slices.Values(c.args))), nil
	}
	names, err := thinpool.List(c.root())
	if err != nil {
		return nil, fmt.Errorf("list the pools of %s: %w", c.root(), err)
	}
	return names, nil
}

// deliver writes to standard output, or makes the file that --output names. A
// reader sees what it was or what it is, whole.
func (c *call) deliver(text []byte) (err error) {
	path := c.flags.String("output")
	if path == "" {
		_, err := c.out.Write(text)
		return err
	}
	file, err := createFile(path, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := file.Chmod(0o644); err != nil {
		return fmt.Errorf("making %s readable: %w", path, err)
	}
	return file.commit()
}

// poolNamesOnce proposes pools that are not there yet.
func (c *call) poolNamesOnce() []string {
	names, _ := thinpool.List(c.root())
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(c.args, name) })
}
