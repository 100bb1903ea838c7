package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"thinctl/tests/lab"
)

const usage = `Usage: tests/lab/run [flags] [-- COMMAND ARGS...]

Runs COMMAND as root in a throw-away virtual machine that shows this host's
files; without COMMAND, a shell. Exits as COMMAND does, or with 137 after a
power-off, 124 after --timeout, 125 if the lab failed.

`

// orders are the flags that do not belong to the configuration.
type orders struct {
	prepare, verbose bool
}

func parse(args []string) (config lab.Config, o orders, err error) {
	f := flag.NewFlagSet("tests/lab/run", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		f.PrintDefaults()
	}
	f.StringVar(&config.Kernel, "kernel", "", "`name`: 6.1 (default), 6.12, 5.10 (Debian 11) or sid (Debian's newest)")
	f.BoolVar(&config.Systemd, "systemd", false, "a Debian root with systemd and udev, this host's at /host")
	f.Func("disk", "blank disk of this `size`, /dev/disk/by-id/virtio-disk0 and on, /dev/vdb and on (repeatable)",
		func(s string) error {
			size, err := parseSize(s)
			config.Disks = append(config.Disks, lab.Disk{Size: size})
			return err
		})
	f.Func("disk-file", "the file at `path` as the next disk, kept (repeatable)", func(s string) error {
		config.Disks = append(config.Disks, lab.Disk{File: s})
		return nil
	})
	f.Func("scratch", "`size` of the sparse disk at /scratch (default 24G)", sizeInto(&config.Scratch))
	f.StringVar(&config.KeepScratch, "keep-scratch", "", "the scratch disk is the file at `path`, made if absent, kept")
	f.Func("memory", "`size` of the guest's memory (default 4G)", sizeInto(&config.Memory))
	f.IntVar(&config.CPUs, "cpus", 0, "the guest's processors (default 2)")
	f.Func("module", "load this kernel module too: `name` (repeatable)", appendTo(&config.Modules))
	f.Func("without", "the guest must not have this kernel module: `name` (repeatable)", appendTo(&config.Without))
	f.DurationVar(&config.Timeout, "timeout", 0, "kill the guest after this time (default 30m)")
	f.DurationVar(&config.PowerOffAfter, "power-off-after", 0, "cut the power this long after the command's start")
	f.StringVar(&config.PowerOffOn, "power-off-on", "", "cut the power once a line of stdout holds `text`")
	f.BoolVar(&config.NoBuild, "no-build", false, "do not build cmd/thinctl first")
	f.StringVar(&config.Tree, "tree", "", "the project's `directory` (tests/lab/run sets it)")
	f.BoolVar(&o.prepare, "prepare", false, "only install and cache what a run needs")
	f.BoolVar(&o.verbose, "verbose", false, "print at the end how long it took")
	if err := f.Parse(args); err != nil {
		return config, o, err
	}
	config.Command = f.Args()
	return config, o, nil
}

func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

func sizeInto(field *int64) func(string) error {
	return func(s string) (err error) {
		*field, err = parseSize(s)
		return err
	}
}

// parseSize parses whole numbers of bytes with K, M, G or T, 1024-based.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGT")
	shift, ok := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n <= 0 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("%q is no size: write it like 512M or 20G", s)
	}
	return n << shift, nil
}
