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
	debug.SetGCPercent(25) // as the command line does
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	op := flag.String("op", "", "do only this operation of ours on FILE, and print nothing")
	pool := flag.String("make", "", "only make the metadata of that pool in FILE")
	dir := flag.String("dir", os.TempDir(), "where the pools' metadata is kept; up to 8 GiB")
	names := flag.String("pools", "10M,60M,200M", "which pools to measure")
	rounds := flag.Int("rounds", 5, "how often each operation is done")
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
