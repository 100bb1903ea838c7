package main

import (
	"context"

	"thinctl/tests/programs"
)

type docker struct {
	*programs.Docker
	image string
}

func newDocker(ctx context.Context, f fixture) (peer, error) {
	d, err := programs.StartDocker(ctx, f.dir, programs.DockerOptions{
		Driver: "devicemapper",
		Flags:  []string{"--storage-opt", "dm.loopdatasize=20G", "--storage-opt", "dm.loopmetadatasize=1G"},
	})
	return &docker{d, f.image}, err
}

func (d *docker) name() string { return "docker devicemapper" }

func (d *docker) load(ctx context.Context, archive string) error { return d.Load(ctx, archive) }

func (d *docker) create(ctx context.Context, container string) error {
	_, err := d.Do(ctx, "create", "--network", "none", "--name", container, d.image, "/busybox", "sleep", "100000")
	return err
}

func (d *docker) mount(ctx context.Context, container string) (string, error) {
	if _, err := d.Do(ctx, "start", container); err != nil {
		return "", err
	}
	return d.Rootfs(ctx, container)
}

func (d *docker) unmount(ctx context.Context, container string) error {
	_, err := d.Do(ctx, "kill", container)
	return err
}

func (d *docker) ready(context.Context, string) error { return nil }

func (d *docker) diff(ctx context.Context, container string) error {
	_, err := d.Diff(ctx, container)
	return err
}

func (d *docker) commit(ctx context.Context, container, image string) error {
	_, err := d.Do(ctx, "commit", container, image)
	return err
}

func (d *docker) removeCommitted(ctx context.Context, image string) error {
	_, err := d.Do(ctx, "rmi", image)
	return err
}

func (d *docker) remove(ctx context.Context, container string) error {
	_, err := d.Do(ctx, "rm", container)
	return err
}

func (d *docker) removeImage(ctx context.Context) error {
	_, err := d.Do(ctx, "rmi", d.image)
	return err
}

func (d *docker) stop(ctx context.Context) error { return d.Stop(ctx) }
