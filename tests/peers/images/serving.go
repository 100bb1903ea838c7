package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"thinctl/tests/programs"
)

const servingName = "containerd thinctl"

// serving is a containerd whose snapshotter is thinctl serve. containerd 1.6 has no proxies
// for Diff services, so differences are requested from thinctl's own socket.
type serving struct {
	*containerd
	pool   programs.Thinctl
	served *programs.Snapshotter
}

func newServing(ctx context.Context, f fixture) (peer, error) {
	dir := filepath.Join(f.dir, "serving")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &serving{pool: programs.Thinctl{Program: f.thinctl, Root: filepath.Join(dir, "pools"), Pool: "serving"}}
	if err := s.pool.Create(ctx, "--data-size", "20G", "--metadata-size", "1G", "--base-size", "10G"); err != nil {
		return nil, err
	}
	const snapshotter, socket = "thinctl", "/run/serving/serving.sock"
	var err error
	sockets := map[string]string{snapshotter: socket}
	if s.served, err = programs.StartSnapshotter(ctx, s.pool, dir, sockets); err != nil {
		return nil, err
	}
	daemon, err := programs.StartContainerdWith(ctx, dir, sockets, "")
	if err != nil {
		return nil, errors.Join(err, s.served.Stop(ctx))
	}
	s.containerd = &containerd{Containerd: daemon, fixture: f, snapshotter: snapshotter}
	s.dir = dir
	if err := os.Mkdir(filepath.Join(dir, snapshotter), 0o700); err != nil {
		return nil, err
	}
	s.differ, err = connect(daemon.Address(), socket, snapshotter)
	return s, err
}

func (s *serving) name() string { return servingName }

func (s *serving) stop(ctx context.Context) error {
	return errors.Join(s.containerd.stop(ctx), s.served.Stop(ctx))
}
