package main

import (
	"context"
	"path/filepath"

	"thinctl/tests/programs"
)

type ours struct {
	programs.Thinctl
	image string
}

func newOurs(ctx context.Context, f fixture) (peer, error) {
	o := &ours{programs.Thinctl{Program: f.thinctl, Root: filepath.Join(f.dir, "thinctl"), Pool: "bench"}, f.image}
	return o, o.Create(ctx, "--data-size", "20G", "--metadata-size", "1G")
}

func (o *ours) name() string { return thinctlName }

func (o *ours) load(ctx context.Context, archive string) error { return o.Load(ctx, archive) }

func (o *ours) create(ctx context.Context, container string) error {
	_, err := o.Do(ctx, "container", "create", o.Pool, o.image, "--name", container)
	return err
}

func (o *ours) mount(ctx context.Context, container string) (string, error) {
	return o.Do(ctx, "container", "mount", o.Pool, container)
}

func (o *ours) unmount(ctx context.Context, container string) error {
	_, err := o.Do(ctx, "container", "unmount", o.Pool, container)
	return err
}

func (o *ours) ready(context.Context, string) error { return nil }

func (o *ours) diff(ctx context.Context, container string) error {
	_, err := o.Diff(ctx, container)
	return err
}

func (o *ours) commit(ctx context.Context, container, image string) error {
	_, err := o.Do(ctx, "container", "commit", o.Pool, container, image)
	return err
}

func (o *ours) removeCommitted(ctx context.Context, image string) error {
	_, err := o.Do(ctx, "image", "remove", o.Pool, image, "--yes")
	return err
}

func (o *ours) remove(ctx context.Context, container string) error {
	_, err := o.Do(ctx, "container", "remove", o.Pool, container, "--yes")
	return err
}

func (o *ours) removeImage(ctx context.Context) error {
	_, err := o.Do(ctx, "image", "remove", o.Pool, o.image, "--yes")
	return err
}

func (o *ours) stop(ctx context.Context) error { return o.Destroy(ctx) }
