package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"thinctl/dm"
	"thinctl/loopback"
)

const (
	floorName   = "floor"
	libraryName = "thinctl, one process"
)

type flags struct {
	plan
	peers, sizes, thinctl string
	root, footprint       string
	profile               string
}

func main() {
	var f flags
	flag.StringVar(&f.peers, "peers", "floor,library,program,dmsetup,lvm", "who is measured")
	flag.StringVar(&f.sizes, "sizes", "10,1000,10000", "how many volumes the pools hold")
	flag.IntVar(&f.rounds, "rounds", 25, "rounds at each size")
	flag.IntVar(&f.burst, "burst", 4, "how often quick peers go in each round")
	flag.DurationVar(&f.budget, "budget", 90*time.Second,
		"a peer that has taken this long at one size has no further rounds")
	flag.StringVar(&f.thinctl, "thinctl", "", "the thinctl program")
	flag.StringVar(&f.footprint, "footprint", "", "only open this pool of -root and print time and memory")
	flag.StringVar(&f.root, "root", "", "directory of the pools")
	flag.StringVar(&f.profile, "cpuprofile", "", "write a profile of this process")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := f.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func (f *flags) run(ctx context.Context) error {
	for _, text := range strings.Split(f.sizes, ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-sizes %s: %w", f.sizes, err)
		}
		f.plan.sizes = append(f.plan.sizes, size)
	}
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		return fmt.Errorf("a kernel with device mapper is needed, as root; tests/peers/run brings one: %w", err)
	}
	defer kernel.Close()
	loops := loopback.New(loopback.Options{})
	defer loops.Close()
	fx := fixture{kernel: kernel, loops: loops, thinctl: f.thinctl}
	if f.footprint != "" {
		return footprint(ctx, fx, f.root, f.footprint, os.Stdout)
	}
	if fx.dir, err = os.MkdirTemp("", "peers"); err != nil {
		return err
	}
	return f.compare(ctx, fx, os.Stdout)
}

func (f *flags) compare(ctx context.Context, fx fixture, w io.Writer) error {
	var peers []peer
	var names []string
	makers := map[string]func(context.Context, fixture) (peer, error){
		"floor": newFloor, "library": newLibrary, "program": newCommandLine, "dmsetup": newDmsetup, "lvm": newLVM,
	}
	for _, name := range strings.Split(f.peers, ",") {
		missing := name == "program" && !has(fx.thinctl) || (name == "dmsetup" || name == "lvm") && !has(name)
		if missing {
			fmt.Fprintf(os.Stderr, "%s is not there: it is left out\n", name)
			continue
		}
		maker, ok := makers[name]
		if !ok {
			return fmt.Errorf("no peer %q", name)
		}
		one, err := maker(ctx, fx)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", name, err)
		}
		peers = append(peers, one)
		names = append(names, one.name())
	}
	if f.profile != "" {
		file, err := os.Create(f.profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	found, faults := measure(ctx, peers, f.plan, os.Stderr)
	f.conditions(w)
	found.write(w, names, f.plan.sizes)
	for _, one := range peers {
		if o, ok := one.(*ours); ok {
			fmt.Fprintf(w, "\n### A fresh process\n\n%s", footprintHead)
			faults = append(faults, ownProcess(ctx, o, w))
		}
	}
	return errors.Join(faults...)
}

// conditions returns what a reader needs to judge the figures.
func (f *flags) conditions(w io.Writer) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(string(text))
	}
	model, accelerator := "", "none that /proc/cpuinfo shows"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	if product := read("/sys/class/dmi/id/product_name"); strings.Contains(product, "PC") {
		accelerator = "a QEMU guest (" + product + ")"
	}
	fmt.Fprintf(w, "Kernel %s, processor %s, %s, %s; %s rounds of %d at each size, peers in turn.\n",
		read("/proc/sys/kernel/osrelease"), model, accelerator, filepath.Base(os.TempDir()), strconv.Itoa(f.rounds), f.burst)
}
