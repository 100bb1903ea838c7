// Package sampler takes the samples that package metrics exports. It reads a pool's
// status, and counts the images, layers and containers in its database.
package sampler

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/metrics"
	"thinctl/thinpool"
)

// Options change the contents of a sample.
type Options struct {
	// VolumeLimit is the largest number of named volumes. A sample of a pool with more has
	// no sizes of single volumes.
	VolumeLimit int
	// Now returns the time of a sample; nil for time.Now.
	Now func() time.Time
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Take opens a pool by its name and takes a sample of it. It takes none of the pool's
// locks and does not make the kernel commit. Limits, forecast, conditions and scan of the
// sample are empty.
func Take(ctx context.Context, host thinpool.Host, root, pool string, o Options) metrics.Sample {
	if o.Now == nil {
		o.Now = host.Now
	}
	return o.sample(pool, func(s *metrics.Sample) error {
		opened, err := thinpool.Open(ctx, host, root, pool)
		if err != nil {
			return err
		}
		return errors.Join(read(ctx, opened, s, o), opened.Close(context.WithoutCancel(ctx)))
	})
}

// TakeOf takes a sample of an open pool. It includes volumes that the pool has reaped, but
// not yet deleted from the database.
func TakeOf(ctx context.Context, pool *thinpool.Pool, o Options) metrics.Sample {
	return o.sample(pool.Name(), func(s *metrics.Sample) error { return read(ctx, pool, s, o) })
}

func (o Options) sample(pool string, read func(*metrics.Sample) error) metrics.Sample {
	s := metrics.Sample{Pool: pool, At: o.now()}
	s.Err = read(&s)
	s.Took = max(0, o.now().Sub(s.At))
	return s
}

func read(ctx context.Context, pool *thinpool.Pool, s *metrics.Sample, o Options) (err error) {
	if s.Status, err = pool.Status(ctx); err != nil {
		return err
	}
	var volumes []string // the pool's names of s.Volumes
	if err := pool.View(ctx, func(tx *thinpool.Tx) (err error) { volumes, err = count(tx, s); return err }); err != nil {
		return err
	}
	if s.HasKernelStatus() && len(volumes) <= o.VolumeLimit {
		return measure(ctx, pool, s, volumes)
	}
	return nil
}

// count adds the objects in the database to a sample. It returns the names of the volumes
// in the pool.
func count(tx *thinpool.Tx, s *metrics.Sample) ([]string, error) {
	containers, err := layers.ContainersIn(tx)
	if err != nil {
		return nil, err
	}
	named := make(map[string]string, len(containers))
	for _, c := range containers {
		named[layers.ContainerVolume(c.ID)] = c.Name
	}
	s.Layers, s.Containers, s.Images = layers.CountLayersIn(tx), len(containers), images.CountIn(tx)
	type volume struct {
		metrics.Volume
		name string
	}
	var all []volume
	for v, err := range tx.Volumes() {
		if err != nil {
			return nil, err
		}
		one := volume{metrics.Volume{Kind: metrics.KindVolume, Name: v.Name, ID: v.ID, Virtual: v.Size}, v.Name}
		container, ok := named[v.Name]
		switch {
		case ok:
			one.Kind, one.Name = metrics.KindContainer, container
		case v.For != "":
			continue
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b volume) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	s.Volumes = nil
	var names []string
	for _, v := range all {
		s.Volumes, names = append(s.Volumes, v.Volume), append(names, v.name)
	}
	return names, nil
}

// measure reads the mapped size of each active volume from the kernel.
func measure(ctx context.Context, pool *thinpool.Pool, s *metrics.Sample, volumes []string) error {
	var faults []error
	for i, name := range volumes {
		status, err := pool.VolumeStatus(ctx, name)
		switch {
		case errors.Is(err, thinpool.ErrNoVolume): // removed since count
		case err != nil:
			faults = append(faults, err)
		case status.Active && !status.Failed:
			s.Volumes[i].Mapped = &status.Mapped
		}
	}
	return errors.Join(faults...)
}
