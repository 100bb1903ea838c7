package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

type flags struct {
	thinctl string
	rules   string
	peers   string
	depths  string
	clients string
	plan

	from, picture string
	makeImage     string
}

// plan holds the parameters of a run.
type plan struct {
	rounds  int
	turn    time.Duration
	unpacks int
	crowd   int
	image   string // directory of the image that is unpacked
}

func main() {
	var f flags
	flag.StringVar(&f.thinctl, "thinctl", "thinctl", "the program to measure")
	flag.StringVar(&f.rules, "rules", "",
		"udev's rules for thinctl's devices, as its packages install them; none if empty")
	flag.StringVar(&f.peers, "peers", strings.Join(everyone, ","), "who is measured")
	flag.StringVar(&f.depths, "depths", "1,16,128", "lengths of chains")
	flag.StringVar(&f.clients, "clients", "1,8,32", "how many at once")
	flag.IntVar(&f.rounds, "rounds", 64, "times that each operation is done at each depth, by all clients together")
	flag.DurationVar(&f.turn, "turn", 10*time.Second, "no further round of one peer at one depth is begun after that long")
	flag.IntVar(&f.unpacks, "unpacks", 1, "times that an image is unpacked")
	flag.IntVar(&f.crowd, "crowd", 50, "containers that are started at once; 0 for none")
	flag.StringVar(&f.image, "image", "", "directory of the image that -make-image has written")
	flag.StringVar(&f.makeImage, "make-image", "", "measure nothing, but write an image to this directory")
	flag.StringVar(&f.from, "from", "", "measure nothing, but read what an earlier run has printed")
	flag.StringVar(&f.picture, "picture", "", "draw into this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := f.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (f *flags) run(ctx context.Context, w io.Writer) error {
	if f.makeImage != "" {
		return makeImage(f.makeImage)
	}
	if f.from == "" {
		found, err := f.compare(ctx, w)
		if err == nil && f.picture != "" {
			err = draw(f.picture, found)
		}
		return err
	}
	file, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer file.Close()
	found, err := read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", f.from, err)
	}
	return draw(f.picture, found)
}

func numbers(list string) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no list of numbers", list)
		}
		all = append(all, n)
	}
	return all, nil
}
