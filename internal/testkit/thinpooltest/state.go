package thinpooltest

import (
	"context"
	"errors"
	"fmt"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/units"
)

// The pools of the operations.
const (
	CrashPool  = "crash-pool"
	sparePool  = "spare"
	secondPool = "second"
)

// Blocks writes and reads marks in the 64K blocks of active volumes. Each kind of host
// implements it.
type Blocks interface {
	// Write writes a value to a block. It is durable when Write returns; in memory, when
	// the pool has been flushed.
	Write(v thinpool.Volume, block, value uint64) error
	// Read returns the values that a block holds: one, or more if a write was torn; 0 if it
	// was never written. Anything else is an error.
	Read(v thinpool.Volume, block uint64) ([]uint64, error)
}

// Expect returns an error unless a block holds that one value.
func Expect(b Blocks, v thinpool.Volume, block, want uint64) error {
	got, err := b.Read(v, block)
	if err == nil && (len(got) != 1 || got[0] != want) {
		err = fmt.Errorf("got values %d, want %d", got, want)
	}
	if err != nil {
		return fmt.Errorf("block %d of volume %s: %w", block, v.Name, err)
	}
	return nil
}

// SmallPool returns the options of the operations' pools.
func SmallPool() thinpool.CreateOptions {
	return thinpool.CreateOptions{DataSize: 64 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: 16 * units.MiB,
		Reserve: &thinpool.Reserve{}}
}

// State is the state of a host's pools when no operation is in progress.
type State struct {
	Pools          map[string]bool
	Volumes        map[string]thinpool.Volume
	Used           uint64 // data blocks
	Held           uint64 // block of a metadata snapshot, 0 for none
	Data, Metadata units.Bytes
	ErrorIfFull    bool
	Settings       thinpool.Settings
	Note           string // the document that operations write along; "" for none
}

// Prepare makes the state with which the operations begin, in CrashPool. The volume base is
// active and written. The volume idle shares its blocks and is not active. The volume doomed
// is active and has blocks of its own. The volume new does not exist. With spare there is a
// second pool.
func Prepare(ctx context.Context, host thinpool.Host, root string, blocks Blocks, spare bool) error {
	if err := eitherPool(ctx, host, root, CrashPool, true); err != nil {
		return err
	}
	if err := eitherPool(ctx, host, root, secondPool, false); err != nil {
		return err
	}
	if err := eitherPool(ctx, host, root, sparePool, spare); err != nil {
		return err
	}
	return WithPool(ctx, host, root, CrashPool,
		func(pool *thinpool.Pool) error { return furnish(ctx, host, pool, blocks) })
}

// WithPool opens a pool, calls do and closes it.
func WithPool(ctx context.Context, host thinpool.Host, root, name string, do func(*thinpool.Pool) error) error {
	pool, err := thinpool.Open(ctx, host, root, name)
	if err != nil {
		return err
	}
	return errors.Join(do(pool), pool.Close(ctx))
}

func furnish(ctx context.Context, host thinpool.Host, pool *thinpool.Pool, blocks Blocks) error {
	for _, made := range []struct{ name, what string }{{"new", ""}, {"new", kept}, {"renamed", kept}} {
		_, err := pool.RemoveVolume(ctx, made.name, thinpool.RemoveOptions{For: made.what})
		if err != nil && !errors.Is(err, thinpool.ErrNoVolume) && !errors.Is(err, fault.Invalid) {
			return err
		}
	}
	if err := pool.Update(ctx, note("before")); err != nil {
		return err
	}
	if err := written(ctx, pool, blocks, "base", map[uint64]uint64{0: 100, 255: 101}); err != nil {
		return err
	}
	if _, err := pool.VolumeStatus(ctx, "idle"); errors.Is(err, thinpool.ErrNoVolume) {
		if _, err := pool.Snapshot(ctx, "base", "idle", thinpool.SnapshotOptions{}); err != nil {
			return err
		}
	}
	if err := pool.DeactivateVolume(ctx, "idle"); err != nil {
		return err
	}
	if err := written(ctx, pool, blocks, "doomed", map[uint64]uint64{0: 1, 9: 2}); err != nil {
		return err
	}
	// This flushes, as a file system does before it acknowledges anything.
	status, err := pool.Status(ctx)
	if err == nil {
		_, _, err = host.Kernel.Status(ctx, dm.ByName(status.Device), dm.StatusOptions{})
	}
	return err
}

// eitherPool makes the pool, or removes it.
func eitherPool(ctx context.Context, host thinpool.Host, root, name string, wanted bool) error {
	err := WithPool(ctx, host, root, name, func(pool *thinpool.Pool) error {
		if wanted {
			return pool.Activate(ctx)
		}
		return pool.Destroy(ctx)
	})
	if !errors.Is(err, thinpool.ErrNoPool) {
		return err
	}
	if !wanted {
		return nil
	}
	pool, err := thinpool.Create(ctx, host, root, name, SmallPool())
	if err != nil {
		return err
	}
	return pool.Close(ctx)
}

// written makes the volume if it does not exist, activates it, and writes the values.
func written(ctx context.Context, pool *thinpool.Pool, blocks Blocks, name string, values map[uint64]uint64) error {
	_, err := pool.VolumeStatus(ctx, name)
	missing := errors.Is(err, thinpool.ErrNoVolume)
	if missing {
		_, err = pool.CreateVolume(ctx, name, thinpool.VolumeOptions{})
	}
	if err != nil {
		return err
	}
	volume, err := pool.ActivateVolume(ctx, name)
	if err != nil || !missing {
		return err
	}
	for block, value := range values {
		if err := blocks.Write(volume, block, value); err != nil {
			return err
		}
	}
	return nil
}

// Reopen does what the next process does after a kill.
func Reopen(ctx context.Context, host thinpool.Host, root string) error {
	if err := thinpool.Sweep(ctx, host, root); err != nil {
		return err
	}
	names, err := thinpool.List(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := WithPool(ctx, host, root, name, func(pool *thinpool.Pool) error {
			if err := pool.Activate(ctx); err != nil {
				return err
			}
			return pool.Recover(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Inspect reads the state of a reopened pool. It fails if database, kernel and metadata do
// not agree.
func Inspect(ctx context.Context, host thinpool.Host, root string) (State, error) {
	s := State{Pools: map[string]bool{}, Volumes: map[string]thinpool.Volume{}}
	names, err := thinpool.List(root)
	if err != nil {
		return s, err
	}
	for _, name := range names {
		s.Pools[name] = true
	}
	err = WithPool(ctx, host, root, CrashPool, func(pool *thinpool.Pool) error { return s.inspectPool(ctx, pool) })
	return s, err
}

func (s *State) inspectPool(ctx context.Context, pool *thinpool.Pool) error {
	// The status comes first, because the check releases the metadata snapshot of a killed
	// reader.
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	report, err := pool.Check(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, finding := range report.Findings {
		// The next activation of the volume completes an unfinished device.
		if finding.Code != thinpool.FindUnfinished {
			faults = append(faults, fmt.Errorf("the check of the pool reports %+v", finding))
		}
	}
	s.Used, s.Held = status.Kernel.UsedData, status.Kernel.HeldRoot
	s.Data, s.Metadata = status.Data.Total, status.Metadata.Total
	s.ErrorIfFull = status.Kernel.ErrorIfNoSpace
	s.Settings = thinpool.Settings{Reserve: status.Record.Reserve, BaseSize: status.Record.BaseSize}
	if err := pool.View(ctx, s.readNote); err != nil {
		return err
	}
	volumes, err := pool.Volumes(ctx)
	for _, volume := range volumes {
		if volume.Active && volume.Dev == (blockdev.Number{}) {
			faults = append(faults, fmt.Errorf("%s is active without a device", volume.Name))
		}
		s.Volumes[volume.Name] = volume
	}
	return errors.Join(err, errors.Join(faults...))
}

// ReadBack compares the volumes that still exist with the values that Prepare wrote; base
// must exist.
func ReadBack(ctx context.Context, host thinpool.Host, root string, blocks Blocks, s *State) error {
	return WithPool(ctx, host, root, CrashPool, func(pool *thinpool.Pool) error { return s.readBack(ctx, pool, blocks) })
}

func (s *State) readBack(ctx context.Context, pool *thinpool.Pool, blocks Blocks) error {
	var faults []error
	for name, values := range map[string]map[uint64]uint64{
		"base": {0: 100, 255: 101}, "idle": {0: 100, 255: 101}, "doomed": {0: 1, 9: 2}, "renamed": {0: 1, 9: 2},
	} {
		if s.Volumes[name].Name == "" {
			if name == "base" {
				faults = append(faults, errors.New("volume base is lost"))
			}
			continue
		}
		volume, err := pool.ActivateVolume(ctx, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for block, want := range values {
			faults = append(faults, Expect(blocks, volume, block, want))
		}
	}
	return errors.Join(faults...)
}
