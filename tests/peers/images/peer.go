package main

import (
	"context"
)

// peer is a program that keeps images and makes containers of them.
type peer interface {
	name() string
	load(ctx context.Context, archive string) error
	// create makes a container of the image.
	create(ctx context.Context, container string) error
	// mount makes a container's files accessible, and returns where.
	mount(ctx context.Context, container string) (string, error)
	unmount(ctx context.Context, container string) error
	// ready makes a mounted container ready for its diff, which is not timed.
	ready(ctx context.Context, container string) error
	diff(ctx context.Context, container string) error
	// commit makes an image, or the peer's form of one, from a container.
	commit(ctx context.Context, container, image string) error
	removeCommitted(ctx context.Context, image string) error
	remove(ctx context.Context, container string) error
	removeImage(ctx context.Context) error
	stop(ctx context.Context) error
}
