// Package sampler takes the samples that package metrics exports: it reads a pool's
// status, and counts what images, layers and containers keep in its database.
package sampler

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"thinctl/internal/images"
	"thinctl/metrics"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
)

// Options change what a sample has.
type Options struct {
	// VolumeLimit is the largest number of named volumes of a pool for which the
	// kernel is asked how much each has mapped.
	VolumeLimit int
	// Now is the clock of samples; nil is time.Now.
	Now func() time.Time
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Take opens the pool of that name and takes a sample of it. It takes no lock of the
// pool's and commits nothing. Limits, forecast, conditions and scan are left empty.
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

// TakeOf is Take of an open pool. The sample includes what that has reaped and not
// yet written to the database.
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
	if err := pool.View(ctx, func(tx *store.Tx) (err error) { volumes, err = count(tx, s); return err }); err != nil {
		return err
	}
	if s.HasKernelStatus() && len(volumes) <= o.VolumeLimit {
		return measure(ctx, pool, s, volumes)
	}
	return nil
}

// count reads what only the database has. It returns the pool's names of the volumes.
func count(tx *store.Tx, s *metrics.Sample) ([]string, error) {
	containers, err := snapshots.ContainersIn(tx)
	if err != nil {
		return nil, err
	}
	named := make(map[string]string, len(containers))
	for _, c := range containers {
		named[snapshots.ContainerVolume(c.ID)] = c.Name
	}
	s.Layers, s.Containers, s.Images = snapshots.CountLayersIn(tx), len(containers), images.CountIn(tx)
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

// measure asks the kernel how much each active volume has mapped.
func measure(ctx context.Context, pool *thinpool.Pool, s *metrics.Sample, volumes []string) error {
	var faults []error
	for i, name := range volumes {
		status, err := pool.VolumeStatus(ctx, name)
		switch {
		case errors.Is(err, thinpool.ErrNotFound): // removed since count
		case err != nil:
			faults = append(faults, err)
		case status.Active && !status.Failed:
			s.Volumes[i].Mapped = &status.Mapped
		}
	}
	return errors.Join(faults...)
}
