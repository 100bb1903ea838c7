package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/dm"
	"thinctl/tests/programs"
)

// Names of the peers in the tables. Direct is the socket of thinctl without containerd.
const (
	floorName   = "floor"
	udevName    = "floor, udev" // with the wait for udev
	directName  = "thinctl, direct"
	thinctlName = "thinctl"
	devmapper   = "devmapper"
	overlayfs   = "overlayfs"
)

// everyone are the names that -peers accepts.
var everyone = []string{floorName, "udev", "direct", thinctlName, devmapper, overlayfs}

// The sockets of thinctl serve: the one that containerd uses, and the one that it does not.
const proxied, direct = "/run/peers/proxied.sock", "/run/peers/direct.sock"

// sole keeps the garbage collector from running unless it is requested.
const sole = `[plugins."io.containerd.gc.v1.scheduler"]
  mutation_threshold = 1000000000
`

// compare starts the snapshotters, measures them and prints the tables.
func (f *flags) compare(ctx context.Context, w io.Writer) (found table, err error) {
	depths, err := numbers(f.depths)
	if err != nil {
		return nil, err
	}
	clients, err := numbers(f.clients)
	if err != nil {
		return nil, err
	}
	if f.unpacks > 0 && f.image == "" {
		return nil, errors.New("-unpacks needs -image")
	}
	fx := &fixture{}
	defer func() { err = errors.Join(err, fx.close(ctx)) }()
	if f.rules != "" {
		if err := programs.InstallRules(ctx, f.rules); err != nil {
			return nil, err
		}
	}
	peers, err := fx.start(ctx, f.thinctl, strings.Split(f.peers, ","))
	if len(peers) == 0 {
		return nil, err
	}
	r := results{}
	err = errors.Join(err, f.measure(ctx, r, peers, depths, clients))
	if f.unpacks > 0 && ctx.Err() == nil {
		err = errors.Join(err, f.images(ctx, r, fx, peers))
	}
	found = r.table()
	conditions(w, f.plan)
	found.write(w, f.crowd)
	return found, err
}

// fixture holds the processes in the guest.
type fixture struct {
	dir    string
	daemon *programs.Containerd
	closes []func(context.Context) error // in the order of their beginning
}

func (f *fixture) close(ctx context.Context) error {
	var faults []error
	for _, one := range slices.Backward(f.closes) {
		faults = append(faults, one(context.WithoutCancel(ctx)))
	}
	return errors.Join(faults...)
}

// start starts all peers. It returns those that started, and the errors of the others.
func (f *fixture) start(ctx context.Context, thinctl string, names []string) ([]peer, error) {
	var err error
	if f.dir, err = os.MkdirTemp("", "peers-"); err != nil {
		return nil, err
	}
	pool := programs.Thinctl{Program: thinctl, Root: filepath.Join(f.dir, "pools"), Pool: "peers"}
	// These are the settings of devmapper's pool in programs.StartContainerdWith.
	if err := pool.Create(ctx, "--data-size", "20G", "--metadata-size", "1G", "--base-size", "10G"); err != nil {
		return nil, err
	}
	served, err := programs.StartSnapshotter(ctx, pool, f.dir, map[string]string{"proxied": proxied, "direct": direct})
	if err != nil {
		return nil, err
	}
	f.closes = append(f.closes, served.Stop)
	if f.daemon, err = programs.StartContainerdWith(ctx, f.dir, map[string]string{thinctlName: proxied},
		sole); err != nil {
		return nil, err
	}
	f.closes = append(f.closes, f.daemon.Stop)
	var peers []peer
	var faults []error
	for _, name := range names {
		one, err := f.peer(ctx, name)
		if err != nil {
			faults = append(faults, fmt.Errorf("preparing %s: %w", name, err))
			fmt.Fprintln(os.Stderr, faults[len(faults)-1])
			continue
		}
		f.closes = append(f.closes, one.close)
		peers = append(peers, one)
	}
	return peers, errors.Join(faults...)
}

func (f *fixture) peer(ctx context.Context, name string) (peer, error) {
	switch name {
	case floorName:
		kernel, err := openBare()
		if err != nil {
			return nil, err
		}
		return newFloor(ctx, floorName, f.dir, kernel)
	case "udev":
		kernel, err := dm.Open(dm.Options{})
		if err != nil {
			return nil, err
		}
		return newFloor(ctx, udevName, f.dir, waiting{kernel})
	case "direct":
		return connect(directName, direct, direct, thinctlName)
	case thinctlName:
		return connect(name, f.daemon.Address(), proxied, name)
	case devmapper, overlayfs:
		return connect(name, f.daemon.Address(), f.daemon.Address(), name)
	}
	return nil, fmt.Errorf("there is none of that name; there are %s", strings.Join(everyone, ", "))
}
