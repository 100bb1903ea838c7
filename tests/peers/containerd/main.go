package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"thinctl/tests/programs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	thinctl := flag.String("thinctl", "thinctl", "the program to measure")
	depths := flag.String("depths", "1,16,128", "lengths of chains")
	clients := flag.String("clients", "1,8,32", "how many at once")
	rounds := flag.Int("rounds", 64, "rounds of all clients together")
	flag.Parse()
	if err := bench(ctx, *thinctl, *depths, *clients, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
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

func bench(ctx context.Context, thinctl, depths, clients string, rounds int) (err error) {
	deep, err := numbers(depths)
	if err != nil {
		return err
	}
	many, err := numbers(clients)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return err
	}
	pool := programs.Thinctl{Program: thinctl, Root: filepath.Join(dir, "pools"), Pool: "peers"}
	// As devmapper's pool in programs.StartContainerd.
	if err := pool.Create(ctx, "--data-size", "20G", "--metadata-size", "1G", "--base-size", "10G"); err != nil {
		return err
	}
	const proxied, direct = "/run/peers/proxied.sock", "/run/peers/direct.sock"
	served, err := programs.StartSnapshotter(ctx, pool, dir, map[string]string{"proxied": proxied, "direct": direct})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, served.Stop(ctx)) }()
	daemon, err := programs.StartContainerdWith(ctx, filepath.Join(dir), map[string]string{"thinctl": proxied})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, daemon.Stop(ctx)) }()
	floor, err := newFloor(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close(ctx)) }()
	peers := []peer{floor}
	for _, at := range []struct{ name, socket, snapshotter string }{
		{"thinctl", daemon.Address(), "thinctl"}, {"thinctl, direct", direct, "thinctl"},
		{"devmapper", daemon.Address(), "devmapper"}, {"overlayfs", daemon.Address(), "overlayfs"},
	} {
		one, err := connect(at.name, at.socket, at.snapshotter)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, one.conn.Close()) }()
		peers = append(peers, one)
	}
	found, err := measure(ctx, peers, deep, many, rounds)
	found.write(os.Stdout, peers, deep, many)
	return err
}
