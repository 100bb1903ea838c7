package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"

	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// ours is thinctl's own pool, driven from this process, as the daemon does.
type ours struct {
	fixture
	title  string
	root   string
	pool   *thinpool.Pool
	filled int
}

func (f fixture) host() thinpool.Host {
	return thinpool.Host{Kernel: f.kernel, Loops: f.loops, Disks: thinpool.LocalDisks{}}
}

func newOurs(ctx context.Context, f fixture, title, name string) (*ours, error) {
	o := &ours{fixture: f, title: title, root: filepath.Join(f.dir, "pools")}
	var err error
	o.pool, err = thinpool.Create(ctx, f.host(), o.root, name, thinpool.CreateOptions{
		DataSize: dataSize, MetadataSize: metadataSize, Block: blockSize, BaseSize: volumeSize,
	})
	if err != nil {
		return nil, err
	}
	if _, err = o.pool.CreateVolume(ctx, "origin", thinpool.VolumeOptions{}); err != nil {
		return nil, err
	}
	_, err = o.pool.ActivateVolume(ctx, "origin")
	return o, err
}

func newLibrary(ctx context.Context, f fixture) (peer, error) {
	return newOurs(ctx, f, "thinctl, one process", "library")
}

func (o *ours) name() string { return o.title }

// fill writes records and metadata while the pool is inactive, because one change after the
// other would take most of the run.
func (o *ours) fill(ctx context.Context, volumes int) error {
	if err := o.pool.Deactivate(ctx); err != nil {
		return err
	}
	var ids []uint32
	var last uint64
	err := store.At(filepath.Join(o.pool.Dir(), "state.db")).Update(ctx, func(tx *store.Tx) (err error) {
		if last, err = tx.LastTx(); err != nil {
			return err
		}
		for ; o.filled < volumes; o.filled++ {
			id, err := tx.AllocateID()
			if err != nil {
				return err
			}
			if err := tx.PutVolume(store.Volume{Name: fillName(o.filled), ID: id, Size: volumeSize, Tx: last}); err != nil {
				return err
			}
		}
		for volume, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			ids = append(ids, volume.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(ids)
	metadata := filepath.Join(o.pool.Dir(), "metadata")
	if err := o.restore(ctx, metadata, last, ids); err != nil {
		return err
	}
	uuid, err := hex.DecodeString(o.pool.UUID())
	if err == nil {
		err = o.host().Disks.Stamp(metadata, [16]byte(uuid))
	}
	if err == nil {
		err = o.pool.Activate(ctx)
	}
	if err == nil {
		_, err = o.pool.ActivateVolume(ctx, "origin")
	}
	return err
}

func (o *ours) create(ctx context.Context, volume string) error {
	_, err := o.pool.CreateVolume(ctx, volume, thinpool.VolumeOptions{})
	return err
}

func (o *ours) snapshot(ctx context.Context, volume string) error {
	if _, err := o.pool.Snapshot(ctx, "origin", volume, thinpool.SnapshotOptions{}); err != nil {
		return err
	}
	_, err := o.pool.ActivateVolume(ctx, volume)
	return err
}

func (o *ours) remove(ctx context.Context, volume string) error {
	_, err := o.pool.RemoveVolume(ctx, volume, thinpool.RemoveOptions{})
	return err
}

// commandLine does the same with the thinctl program, a process for each step.
type commandLine struct{ *ours }

func newCommandLine(ctx context.Context, f fixture) (peer, error) {
	o, err := newOurs(ctx, f, "thinctl, a process each", "program")
	return &commandLine{o}, err
}

func (c *commandLine) volume(ctx context.Context, args ...string) error {
	return command(ctx, c.thinctl, append([]string{"--root", c.root, "volume"}, args...)...)
}

func (c *commandLine) create(ctx context.Context, volume string) error {
	return c.volume(ctx, "create", c.pool.Name(), volume, "--size", fmt.Sprint(uint64(volumeSize/units.GiB))+"G")
}

func (c *commandLine) snapshot(ctx context.Context, volume string) error {
	if err := c.volume(ctx, "snapshot", c.pool.Name(), "origin", volume); err != nil {
		return err
	}
	return c.volume(ctx, "activate", c.pool.Name(), volume)
}

func (c *commandLine) remove(ctx context.Context, volume string) error {
	return c.volume(ctx, "remove", c.pool.Name(), volume, "--yes")
}
