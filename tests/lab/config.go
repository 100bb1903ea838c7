package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"thinctl/tests/lab/boot"
)

// Config is what a run executes and in which machine. The zero value of each field is its
// default.
type Config struct {
	Command []string // the program and its arguments
	Dir     string   // working directory, the same in the guest; the caller's
	Env     []string // added to the variables passed on from the caller

	Stdin          io.Reader    // nil: /dev/null
	Stdout, Stderr io.Writer    // nil: thrown away
	Screen         *boot.Screen // give the command a terminal, on Stdin and Stdout

	Kernel  string // one of Kernels; 6.1
	Systemd bool   // a Debian root with systemd and udev instead of the host's root
	Modules []string
	Without []string

	Memory int64 // bytes; 4 GiB
	CPUs   int   // 2

	Scratch     int64  // size of the scratch disk; 24 GiB, sparse
	KeepScratch string // the scratch disk is this file, made if absent, kept
	Disks       []Disk

	Timeout       time.Duration // of the whole run; 30 minutes
	PowerOffAfter time.Duration // after the command's start; 0: never
	PowerOffOn    string        // once a line of Stdout has this text

	NoBuild  bool      // do not build cmd/thinctl
	Tree     string    // the project; searched upward from the working directory
	Cache    string    // THINCTL_LAB_CACHE, else thinctl-lab in the user's cache
	Progress io.Writer // announcements of slow steps; nil: none

	firstBoot string // added to the kernel's command line at the first boot
}

// Disk is an extra disk: blank and thrown away, or a file that is kept.
type Disk struct {
	Size int64
	File string
	// Serial is "diskN" where it is not given, N counted from 0.
	Serial   string
	NoSerial bool
}

// Result is how a run ended. It is filled in if the lab itself did not fail.
type Result struct {
	ExitCode   int  // the command's; 137 after a power-off
	PoweredOff bool // by PowerOffAfter or PowerOffOn
	Accel      string
	Boot       time.Duration // from QEMU's start to the command's
	Elapsed    time.Duration // of the whole run
	Console    string        // the messages of the guest's kernel
}

func (c Config) withDefaults() (Config, error) {
	if os.Getenv("THINCTL_LAB") != "" {
		return c, errors.New("this is the lab's guest already: run the command itself")
	}
	or(&c.Kernel, Kernels()[0])
	or(&c.Memory, 4<<30)
	or(&c.CPUs, 2)
	or(&c.Scratch, 24<<30)
	or(&c.Timeout, 30*time.Minute)
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	return c, errors.Join(c.findPlaces(), c.check())
}

func (c *Config) findPlaces() (err error) {
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	if c.Tree == "" {
		if c.Tree, err = findTree(c.Dir); err != nil {
			return err
		}
	}
	if c.Cache == "" {
		c.Cache = os.Getenv("THINCTL_LAB_CACHE")
	}
	if c.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("finding a place for the cache (set THINCTL_LAB_CACHE): %w", err)
		}
		c.Cache = filepath.Join(dir, "thinctl-lab")
	}
	c.Cache, err = filepath.Abs(c.Cache)
	return err
}

func (c *Config) check() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!slices.Contains(Kernels(), c.Kernel), "no kernel %q: there are %v", c.Kernel, Kernels())
	fault(c.CPUs < 1, "%d processors", c.CPUs)
	fault(c.Memory < 256<<20, "%d bytes of memory are too few: give 256M or more", c.Memory)
	fault(c.Scratch < 64<<20, "a scratch disk of %d bytes is too small: give 64M or more", c.Scratch)
	fault(c.Timeout < 0 || c.PowerOffAfter < 0, "a negative duration")
	for i, d := range c.Disks {
		fault(d.File == "" && d.Size < 512, "disk %d has neither a size nor a file", i)
	}
	return errors.Join(faults...)
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
