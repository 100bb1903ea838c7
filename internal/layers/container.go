package layers

import (
	"context"
	"errors"
	"fmt"

	"thinctl/fault"
	"thinctl/internal/names"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// ContainerOptions describe a new container.
type ContainerOptions struct {
	Name      string // the short id where empty
	Image     string // the key of its image, not looked into
	ImageName string
	Layer     string // the image's top layer; "" for an empty image
	// Size is the size of its volume; zero means that of the layer. It cannot be
	// smaller.
	Size units.Bytes
	// FS is the file system of a container of an empty image.
	FS filesystem.Type
	// MountLabel is the SELinux context for mounts of the container.
	MountLabel string
	// With writes the caller's documents in the same transaction. Its error cancels the
	// creation.
	With func(*thinpool.Tx, Container) error
}

// CreateContainer makes a container. If a container of the same layer was made before,
// this is one snapshot: nothing is mounted, formatted or copied.
func (s *Store) CreateContainer(ctx context.Context, o ContainerOptions) (Container, error) {
	c := Container{
		ID:         names.Random(idDigits),
		Name:       o.Name,
		Image:      o.Image,
		ImageName:  o.ImageName,
		MountLabel: o.MountLabel,
		Created:    s.now(),
	}
	if c.Name == "" {
		c.Name = short(c.ID)
	}
	if err := checkContainerName(c.Name); err != nil {
		return Container{}, err
	}
	g, err := s.base(ctx, o.Layer, o.FS, o.Size)
	if err != nil {
		return Container{}, failed("create", "container "+c.Name, err)
	}
	// The init may be removed with its layer before it is copied. The next try then
	// reports the layer as not found.
	const tries = 3
	for n := 1; ; n++ {
		made, err := s.createOn(ctx, g, c, o)
		if err == nil || n == tries || !overtaken(err) {
			return made, failed("create", "container "+c.Name, err)
		}
		if g, err = s.base(ctx, o.Layer, o.FS, o.Size); err != nil {
			return Container{}, failed("create", "container "+c.Name, err)
		}
	}
}

func (s *Store) createOn(ctx context.Context, g base, c Container, o ContainerOptions) (Container, error) {
	init, err := s.initOn(ctx, g)
	if err != nil {
		return Container{}, err
	}
	if o.Size != 0 && o.Size < init.Volume {
		return Container{}, &Error{Op: "create", Object: "container " + c.Name, Kind: fault.Invalid,
			Detail: fmt.Sprintf("size %s is smaller than its image's %s", o.Size, init.Volume)}
	}
	volume := containerVolume(c.ID)
	_, err = s.snaps.Create(ctx, volume, initVolume(init.Key), snapshots.CreateOptions{
		Volume: volume, For: snapshots.ForContainer, Size: o.Size,
		With: func(tx *thinpool.Tx, r snapshots.Record) error {
			c.describe(r)
			return putContainer(tx, c, o.With)
		},
	})
	if err != nil {
		return Container{}, err
	}
	return c, nil
}

func putContainer(tx *thinpool.Tx, c Container, with func(*thinpool.Tx, Container) error) error {
	holder, taken, err := thinpool.Document[string](tx, kindNames, c.Name)
	if err != nil {
		return err
	}
	if taken {
		return &Error{Op: "create", Object: "container " + c.Name, Kind: fault.Exists,
			Detail: "container " + short(holder) + " has the name", Remedy: "choose another name or remove it first"}
	}
	if with != nil {
		if err := with(tx, c); err != nil {
			return err
		}
	}
	return errors.Join(tx.Put(kindContainers, c.ID, c), tx.Put(kindNames, c.Name, c.ID))
}
