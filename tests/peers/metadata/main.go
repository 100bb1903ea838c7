package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
)

func main() {
	debug.SetGCPercent(25) // as in thinctl
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	op := flag.String("op", "", "run only this operation of thinctl on FILE")
	pool := flag.String("make", "", "only write the metadata of this pool to FILE")
	dir := flag.String("dir", os.TempDir(), "directory for the pools' metadata; up to 8 GiB")
	names := flag.String("pools", "10M,60M,200M", "names of the pools to measure")
	rounds := flag.Int("rounds", 5, "number of runs of each operation")
	flag.Parse()
	err := func() error {
		switch {
		case *op != "":
			return operate(ctx, *op, flag.Arg(0))
		case *pool != "":
			return makePool(*pool, flag.Arg(0))
		}
		return compare(ctx, *dir, strings.Split(*names, ","), *rounds)
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}
