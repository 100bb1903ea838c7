package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"thinctl/tests/lab/boot"
)

// Prepare installs and caches all that a run with this configuration needs.
func Prepare(ctx context.Context, config Config) error {
	c, err := config.withDefaults()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "thinctl-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_, err = c.gather(ctx, dir)
	return err
}

// parts are the inputs of a run.
type parts struct {
	kernel kernel
	image  string // "" without systemd
	accel  string
	bin    string // the programs that were built
}

func (c Config) gather(ctx context.Context, dir string) (parts, error) {
	p := parts{bin: filepath.Join(dir, "bin")}
	cache, err := openCache(c.Cache)
	if err != nil {
		return p, err
	}
	programs := plainPrograms()
	if c.Systemd {
		programs = systemdPrograms()
	}
	unlock, err := cache.lock(ctx, "packages")
	if err != nil {
		return p, err
	}
	err = require(ctx, programs, c.Progress)
	unlock()
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrUnprepared, err)
	}
	if p.kernel, err = cache.kernel(ctx, c.Kernel, c.Progress); err != nil {
		return p, fmt.Errorf("%w: %w", ErrUnprepared, err)
	}
	if c.Systemd {
		if p.image, err = cache.image(ctx, c.Progress); err != nil {
			return p, fmt.Errorf("%w: %w", ErrUnprepared, err)
		}
	}
	if err = cache.programs(ctx, c.Tree, p.bin, !c.NoBuild); err != nil {
		return p, err
	}
	p.accel, err = cache.accel(ctx, p.kernel, filepath.Join(p.bin, "guest"), c.Progress)
	return p, err
}

// mostBoots bounds how often Run boots a guest whose kernel panics before the lab's
// program begins in it. An emulated 6.12 with two processors did so once in some
// hundred boots, in enqueue_timer, three seconds after its start.
const mostBoots = 3

// Run boots a guest, runs the command in it and returns how it ended. The error
// is not nil when the lab could not run it to its end: see ErrTimeout, ErrGuest.
func Run(ctx context.Context, config Config) (Result, error) {
	begun := time.Now()
	c, err := config.withDefaults()
	if err == nil && len(c.Command) == 0 {
		err = errors.New("no command")
	}
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, ErrTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		result, began, err := c.boot(ctx, attempt)
		result.Elapsed = time.Since(begun)
		panicked := panicLine(result.Console)
		if began || panicked == "" || !errors.Is(err, ErrGuest) || attempt == mostBoots {
			return result, err
		}
		fmt.Fprintf(c.Progress, "lab: the guest's kernel panicked before the lab's program began; booting it again: %s\n",
			panicked)
	}
}

// boot boots a guest once. began reports whether the lab's program began in it.
func (c Config) boot(ctx context.Context, attempt int) (result Result, began bool, err error) {
	dir, err := os.MkdirTemp("", "thinctl-lab-")
	if err != nil {
		return Result{}, false, fmt.Errorf("making a directory for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	p, err := c.gather(ctx, dir)
	if err != nil {
		return Result{}, false, err
	}
	r := &run{config: c, machine: &machine{dir: dir}, stdout: newStream(), stderr: newStream(), began: make(chan struct{})}
	if attempt == 1 {
		r.machine.kernelOptions = c.firstBoot
	}
	if err := r.boot(ctx, p); err != nil {
		return Result{}, false, err
	}
	result, err = r.supervise(ctx)
	result.Accel, result.Console = p.accel, r.machine.console()
	select {
	case <-r.began:
		began = true
	default:
	}
	return result, began, err
}

// spec returns the guest's orders and the modules to load first.
func (c Config) spec(p parts) (boot.Spec, []string, error) {
	set, err := readModules(p.kernel.tree)
	if err != nil {
		return boot.Spec{}, nil, err
	}
	first := slices.Concat(set.present(checksumModules()), bootModules())
	early, err := set.loadOrder(first, c.Without)
	if err != nil {
		return boot.Spec{}, nil, err
	}
	order, err := set.loadOrder(slices.Concat(first, testModules(), c.Modules), c.Without)
	if err != nil {
		return boot.Spec{}, nil, err
	}
	without, err := set.leftOut(c.Without)
	return boot.Spec{
		Systemd: c.Systemd,
		Early:   len(early),
		Tree:    p.kernel.tree,
		Release: p.kernel.release,
		Without: without,
		Shared:  c.shared(),
		Dir:     c.Dir,
		Args:    c.Command,
		Env:     c.environment(p.bin),
		Stdin:   c.Stdin != nil,
		Screen:  c.Screen,
		Sync:    c.keepsDisks(),
	}, order, err
}
