package images

import (
	"context"
	"errors"
	"io"

	"thinctl/fault"
	"thinctl/internal/images/layertar"
	"thinctl/internal/images/reference"
	"thinctl/internal/layers"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// CreateContainer creates a container from an image, given by name or id. It sets the
// options Image, ImageName and Layer.
func (s *Store) CreateContainer(
	ctx context.Context, text string, o layers.ContainerOptions,
) (layers.Container, error) {
	image, err := s.Image(ctx, text)
	if err != nil {
		return layers.Container{}, err
	}
	o.Image, o.Layer = image.Key, image.Top()
	if names := askedBy(image, text); len(names) > 0 {
		o.ImageName = names[0].Familiar()
	}
	with := o.With
	o.With = func(tx *thinpool.Tx, c layers.Container) error {
		if _, err := byKey(tx, image.Key); errors.Is(err, fault.NotFound) {
			return &reference.Error{Given: text, Kind: reference.ErrNotFound, Detail: "it was removed in the meantime"}
		} else if err != nil || with == nil {
			return err
		}
		return with(tx, c)
	}
	return s.layers.CreateContainer(ctx, o)
}

// Export writes all files of a container as a flat tar.
func (s *Store) Export(ctx context.Context, container string, w io.Writer) error {
	view, err := s.layers.ViewContainer(ctx, container)
	if err != nil {
		return err
	}
	_, err = layertar.WriteAll(ctx, view.Root, w)
	if err = errors.Join(err, view.Close()); err != nil {
		return &Error{Op: "export", Object: "container " + container, Err: err}
	}
	return nil
}

// WriteContainerChanges writes the difference between a container and its image as an OCI
// layer.
func (s *Store) WriteContainerChanges(ctx context.Context, container string, w io.Writer) error {
	c, err := s.layers.Container(ctx, container)
	if err != nil {
		return err
	}
	return s.writeChanges(ctx, "container "+c.Name, c.Below(), c.Tree(), true, w)
}

// WriteLayerChanges writes the difference between two layers as an OCI layer. An empty
// lower stands for the parent of the upper layer.
func (s *Store) WriteLayerChanges(ctx context.Context, lower, upper string, w io.Writer) error {
	up, err := s.layers.Layer(ctx, upper)
	if err != nil {
		return err
	}
	below, related := up.Below(), true
	if lower != "" {
		low, err := s.layers.Layer(ctx, lower)
		if err != nil {
			return err
		}
		below = low.Tree()
		if related, err = s.layers.Related(ctx, low.ID, up.ID); err != nil {
			return err
		}
	}
	return s.writeChanges(ctx, "layer "+short(up.ID), below, up.Tree(), related, w)
}

func (s *Store) writeChanges(
	ctx context.Context, object string, below, tree snapshots.Tree, related bool, w io.Writer,
) error {
	err := s.layers.WithTrees(ctx, below, tree, related, func(t snapshots.Trees) error {
		_, err := layertar.Write(ctx, t.Upper, difference(ctx, t), w, layertar.WriteOptions{})
		return err
	})
	if err != nil {
		return &Error{Op: "compare", Object: object, Err: err}
	}
	return nil
}
