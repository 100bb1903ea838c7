package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/moby/sys/mountinfo"

	"thinctl/tests/programs"
)

type containerd struct {
	*programs.Containerd
	fixture
	snapshotter string
	differ      *differ
}

func newContainerd(snapshotter string) func(context.Context, fixture) (peer, error) {
	return func(ctx context.Context, f fixture) (peer, error) {
		dir := filepath.Join(f.dir, snapshotter)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		daemon, err := programs.StartContainerd(ctx, dir)
		if err != nil {
			return nil, err
		}
		c := &containerd{Containerd: daemon, fixture: f, snapshotter: snapshotter}
		c.differ, err = connect(daemon.Address(), daemon.Address(), snapshotter)
		return c, err
	}
}

func (c *containerd) name() string { return "containerd " + c.snapshotter }

func (c *containerd) load(ctx context.Context, archive string) error {
	return c.Import(ctx, c.snapshotter, archive)
}

func (c *containerd) snapshots(ctx context.Context, args ...string) error {
	_, err := c.Snapshots(ctx, c.snapshotter, args...)
	return err
}

func (c *containerd) create(ctx context.Context, container string) error {
	return c.snapshots(ctx, "prepare", container, "sha256:"+c.chain)
}

func (c *containerd) mount(ctx context.Context, container string) (string, error) {
	target := c.target(container)
	if err := os.Mkdir(target, 0o700); err != nil {
		return "", err
	}
	return target, c.Mount(ctx, c.snapshotter, container, target)
}

func (c *containerd) target(container string) string {
	return filepath.Join(c.dir, c.snapshotter, container)
}

func (c *containerd) unmount(ctx context.Context, container string) error {
	mounted, err := mountinfo.Mounted(c.target(container))
	if err != nil {
		return err
	}
	if mounted {
		if _, err := programs.Run(ctx, "umount", c.target(container)); err != nil {
			return err
		}
	}
	return os.Remove(c.target(container))
}

// ready unmounts a thin device, which containerd cannot mount a second time.
func (c *containerd) ready(ctx context.Context, container string) error {
	if c.snapshotter != "devmapper" {
		return nil
	}
	_, err := programs.Run(ctx, "umount", c.target(container))
	return err
}

func (c *containerd) diff(ctx context.Context, container string) error {
	return c.differ.diff(ctx, container, "sha256:"+c.chain)
}

func (c *containerd) commit(ctx context.Context, container, image string) error {
	return c.snapshots(ctx, "commit", image, container)
}

// removeCommitted makes the container again, because the commit has used it up.
func (c *containerd) removeCommitted(ctx context.Context, image string) error {
	if err := c.snapshots(ctx, "rm", image); err != nil {
		return err
	}
	return c.create(ctx, "one")
}

func (c *containerd) remove(ctx context.Context, container string) error {
	return c.snapshots(ctx, "rm", container)
}

func (c *containerd) removeImage(ctx context.Context) error {
	_, err := c.Do(ctx, "images", "rm", "--sync", "docker.io/"+c.image)
	return err
}

func (c *containerd) stop(ctx context.Context) error {
	return errors.Join(c.differ.close(), c.Stop(ctx))
}
