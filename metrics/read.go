package metrics

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"thinctl/dm"
	"thinctl/images"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
)

// ReadOptions change what a sample has.
type ReadOptions struct {
	// VolumeLimit is how many named volumes a pool may have for each to be asked
	// how much it has mapped; with more, none is.
	VolumeLimit int
	// Now is the clock of samples; nil is time.Now.
	Now func() time.Time
}

// Read takes a sample of the pool of that name: no lock of the pool's is taken
// and nothing is committed. Limits, forecast, conditions and scan are not in it.
func Read(ctx context.Context, host thinpool.Host, root, pool string) Sample {
	return ReadWith(ctx, host, root, pool, ReadOptions{VolumeLimit: DefaultVolumeLimit})
}

// ReadWith is Read with options.
func ReadWith(ctx context.Context, host thinpool.Host, root, pool string, o ReadOptions) Sample {
	if o.Now == nil {
		o.Now = host.Now
	}
	s := begin(pool, o)
	opened, err := thinpool.Open(ctx, host, root, pool)
	if err != nil {
		s.Err = err
	} else {
		s.Err = errors.Join(s.read(ctx, opened, o), opened.Close(context.WithoutCancel(ctx)))
	}
	return s.end(o)
}

// ReadPool is Read of a pool that is open. It knows what that has reaped and not
// written down yet.
func ReadPool(ctx context.Context, pool *thinpool.Pool, o ReadOptions) Sample {
	s := begin(pool.Name(), o)
	s.Err = s.read(ctx, pool, o)
	return s.end(o)
}

func (o ReadOptions) now() time.Time { return Options{Now: o.Now}.now() }

func begin(pool string, o ReadOptions) Sample { return Sample{Pool: pool, At: o.now()} }

func (s Sample) end(o ReadOptions) Sample {
	s.Took = max(0, o.now().Sub(s.At))
	return s
}

func (s *Sample) read(ctx context.Context, pool *thinpool.Pool, o ReadOptions) (err error) {
	if s.Status, err = pool.Status(ctx); err != nil {
		return err
	}
	if err := pool.View(ctx, s.count); err != nil {
		return err
	}
	if s.told() && len(s.Volumes) <= o.VolumeLimit {
		return s.measure(ctx, pool)
	}
	return nil
}

// count looks at what the database alone knows.
func (s *Sample) count(tx *store.Tx) error {
	containers, err := snapshots.ContainersIn(tx)
	if err != nil {
		return err
	}
	named := make(map[string]string, len(containers))
	for _, c := range containers {
		named[snapshots.ContainerVolume(c.ID)] = c.Name
	}
	s.Layers, s.Containers, s.Images = snapshots.CountLayersIn(tx), len(containers), images.CountIn(tx)
	s.Volumes = nil
	for v, err := range tx.Volumes() {
		if err != nil {
			return err
		}
		container, ok := named[v.Name]
		switch {
		case ok:
			s.Volumes = append(s.Volumes, Volume{Kind: KindContainer, Name: container, ID: v.ID, Virtual: v.Size, volume: v.Name})
		case v.For == "":
			s.Volumes = append(s.Volumes, Volume{Kind: KindVolume, Name: v.Name, ID: v.ID, Virtual: v.Size, volume: v.Name})
		}
	}
	slices.SortFunc(s.Volumes, func(a, b Volume) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return nil
}

// measure asks the kernel what each active volume has mapped.
func (s *Sample) measure(ctx context.Context, pool *thinpool.Pool) error {
	var faults []error
	for i := range s.Volumes {
		v := &s.Volumes[i]
		status, err := pool.VolumeStatus(ctx, v.volume)
		switch {
		case errors.Is(err, thinpool.ErrNotFound): // removed meanwhile
		case err != nil:
			faults = append(faults, err)
		case status.Active && !status.Failed:
			v.Mapped = &status.Mapped
		}
	}
	return errors.Join(faults...)
}

// known tells whether the pool's record and the kernel's answer are in the
// sample, along with a fault or without.
func (s *Sample) known() bool { return s.Status.Data.Total > 0 }

// told tells whether the kernel's figures are in the sample: an inactive pool
// has none, a failed one gives none.
func (s *Sample) told() bool {
	return s.known() && s.Status.Active && s.Status.Kernel.Mode != dm.ModeFail
}
