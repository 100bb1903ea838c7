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
	"slices"
	"strings"
	"time"

	"thinctl/internal/testkit/imagetest"
)

const (
	floorName   = "floor"
	hashedName  = "floor and sha256sum"
	thinctlName = "thinctl"
)

// fixture holds the state that the peers share.
type fixture struct {
	dir     string
	thinctl string
	archive string   // as docker save writes it
	layers  []string // the tars in it, for the floor
	image   string   // its name
	chain   string   // the chain id of its top layer
}

type flags struct {
	plan
	megabytes int64
	peers     string
	thinctl   string
}

func main() {
	var f flags
	flag.StringVar(&f.peers, "peers", "floor,thinctl,serving,docker,devmapper,overlayfs", "who is measured")
	flag.Int64Var(&f.megabytes, "mb", 500, "size of the image")
	flag.IntVar(&f.rounds, "rounds", 3, "lives of the image with each peer")
	flag.IntVar(&f.lives, "lives", 5, "lives of a container in each round")
	flag.IntVar(&f.crowd, "crowd", 50, "containers that are started at once; 0 for none")
	flag.StringVar(&f.thinctl, "thinctl", "thinctl", "the thinctl program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := f.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func (f *flags) run(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return err
	}
	s, err := f.prepare(dir)
	if err != nil {
		return err
	}
	makers := map[string]func(context.Context, fixture) (peer, error){
		"thinctl": newOurs, "serving": newServing, "docker": newDocker,
		"devmapper": newContainerd("devmapper"), "overlayfs": newContainerd("overlayfs"),
	}
	found := results{}
	var names []string
	var lives []life
	withFloor := false
	for _, name := range strings.Split(f.peers, ",") {
		if name == floorName {
			withFloor = true
			names = append(names, floorName, hashedName)
			continue
		}
		maker, ok := makers[name]
		if !ok {
			return fmt.Errorf("no peer %q", name)
		}
		p, err := maker(ctx, s)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", name, err)
		}
		lives = append(lives, life{p, found, os.Stderr})
		names = append(names, p.name())
	}
	faults := f.measure(ctx, s, lives, withFloor, found)
	f.conditions(w)
	found.write(w, f.operations(), names)
	for _, l := range lives {
		faults = append(faults, l.stop(ctx))
	}
	return errors.Join(faults...)
}

// measure measures the peers in turn. A peer that fails is left out from then on.
func (f *flags) measure(ctx context.Context, fx fixture, lives []life, withFloor bool, found results) (faults []error) {
	for range f.rounds {
		if withFloor {
			took, hashed, err := floorLoad(ctx, fx)
			if err != nil {
				return append(faults, fmt.Errorf("floor: %w", err))
			}
			found[key{floorName, load}] = append(found[key{floorName, load}], took)
			found[key{hashedName, load}] = append(found[key{hashedName, load}], hashed)
			fmt.Fprintf(os.Stderr, "floor: %s, with digests %s\n", took.Round(time.Millisecond), hashed.Round(time.Millisecond))
		}
		lives = slices.DeleteFunc(slices.Clone(lives), func(l life) bool {
			err := f.round(ctx, l, fx)
			if err != nil {
				faults = append(faults, err)
			}
			return err != nil
		})
		slices.Reverse(lives)
	}
	return faults
}

// prepare writes the image: one large layer of a distribution's files, and a program that
// keeps Docker's container running.
func (f *flags) prepare(dir string) (fixture, error) {
	fx := fixture{dir: dir, archive: filepath.Join(dir, "image.tar"), image: "thinctl/bench:latest"}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fx, err
	}
	// It is on the guest's own disk, as the peers' programs are.
	program, err := os.ReadFile(f.thinctl)
	if err == nil {
		fx.thinctl = filepath.Join(dir, "thinctl-program")
		err = os.WriteFile(fx.thinctl, program, 0o700)
	}
	if err != nil {
		return fx, err
	}
	image := imagetest.Program(fx.image, "/busybox", busybox)
	image.Layers = append(imagetest.Plain(fx.image, f.megabytes*imagetest.MB, 8).Layers, image.Layers...)
	b, err := imagetest.Build(image)
	if err != nil {
		return fx, err
	}
	fx.chain = b.ChainIDs[len(b.ChainIDs)-1]
	err = toFile(fx.archive, func(w io.Writer) error { return imagetest.WriteDocker(w, b) })
	for i, l := range b.Contents {
		path := filepath.Join(dir, fmt.Sprintf("layer-%d.tar", i))
		fx.layers = append(fx.layers, path)
		err = errors.Join(err, toFile(path, l.WriteTar))
	}
	return fx, err
}

func toFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Sync(), file.Close())
}

// conditions returns what a reader needs to judge the figures.
func (f *flags) conditions(w io.Writer) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte(err.Error())
	}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		cpus = []byte(err.Error())
	}
	model := ""
	for line := range strings.Lines(string(cpus)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	fmt.Fprintf(w, "Kernel %s, processor %s; image of %d MB; %d rounds of %d containers, peers in turn.\n",
		strings.TrimSpace(string(release)), model, f.megabytes, f.rounds, f.lives)
}
