package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/internal/filelock"
	"thinctl/thinpool"
)

// Recover recovers the pool and completes what killed processes left: working volumes
// of leases, mounts, volumes that a commit has replaced, incomplete devices, devices
// without views, and removed volumes whose blocks are not given back. It does not touch
// what running processes use. The pool must be active.
func (s *Snapshotter) Recover(ctx context.Context) error {
	if err := s.pool.Recover(ctx); err != nil {
		return err
	}
	err := errors.Join(s.ClearLeases(ctx), s.clearTrees(ctx), s.clearDevices(ctx))
	if s.options.Namespace != Local {
		err = errors.Join(err, s.clearVolumes(ctx), s.deactivateIdle(ctx), s.completeDevices(ctx))
	}
	return wrapped("recover", "pool "+s.pool.Name(), err)
}

// clearTrees removes the mounts of trees that killed processes left.
func (s *Snapshotter) clearTrees(ctx context.Context) error {
	entries, err := os.ReadDir(s.MountsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, entry := range entries {
		if id, volume, ok := splitTree(entry.Name()); ok {
			faults = append(faults, s.clearDeadTree(ctx, id, volume, filepath.Join(s.MountsDir(), entry.Name())))
		}
	}
	return errors.Join(faults...)
}

func (s *Snapshotter) clearDeadTree(ctx context.Context, id, volume, root string) error {
	alive, err := s.tryLock(lockTree, id)
	if errors.Is(err, filelock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	defer alive.Release()
	lock, err := s.lock(ctx, lockVolume, volume)
	if err != nil {
		return err
	}
	defer lock.Release()
	return s.clearTree(ctx, root, volume, true)
}

// clearDevices deactivates the devices that only this program mounts and that no process
// has open: a killed process was about to mount them, or had unmounted them.
func (s *Snapshotter) clearDevices(ctx context.Context) error {
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, volume := range volumes {
		if volume.Active && mountedHere(volume.For) {
			faults = append(faults, s.clearDevice(ctx, volume))
		}
	}
	return errors.Join(faults...)
}

func (s *Snapshotter) clearDevice(ctx context.Context, volume thinpool.Volume) error {
	lock, err := s.tryLock(lockVolume, volume.Name)
	if errors.Is(err, filelock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := s.DeactivateUnused(ctx, volume.Name); err != nil && !gone(err) {
		return err
	}
	return nil
}

// clearVolumes removes the volumes that no document of any namespace has. None of them
// can get one: volume and document are created in one transaction.
func (s *Snapshotter) clearVolumes(ctx context.Context) error {
	left, err := s.strays(ctx)
	var faults []error
	for _, volume := range left {
		if err := s.removeVolume(ctx, Record{Volume: volume, For: ForContainerd}, nil); !gone(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(err, errors.Join(faults...))
}

func (s *Snapshotter) strays(ctx context.Context) (left []string, err error) {
	err = s.pool.View(ctx, func(tx *thinpool.Tx) error {
		known := map[string]bool{}
		for entry, err := range thinpool.Documents[Record](tx, kindSnapshots, "") {
			if err != nil {
				return err
			}
			known[entry.Record.Volume] = true
		}
		for volume, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			if volume.For == ForContainerd && !known[volume.Name] {
				left = append(left, volume.Name)
			}
		}
		return nil
	})
	return left, err
}

// deactivateIdle deactivates this namespace's committed snapshots that have no views.
func (s *Snapshotter) deactivateIdle(ctx context.Context) error {
	idle := map[string]Record{}
	err := s.pool.View(ctx, func(tx *thinpool.Tx) error {
		for entry, err := range Records(tx, s.options.Namespace, "") {
			if err != nil {
				return err
			}
			if entry.Record.Kind == core.KindCommitted && entry.Record.Views == 0 {
				idle[entry.Key] = entry.Record
			}
		}
		return nil
	})
	if err != nil || len(idle) == 0 {
		return err
	}
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	active := map[string]bool{}
	for _, volume := range volumes {
		active[volume.Name] = volume.Active
	}
	for name, r := range idle {
		if active[r.Volume] {
			s.deactivate(ctx, name, r)
		}
	}
	return nil
}

// completeDevices completes the devices whose activation was interrupted. It leaves
// other devices as they are: containerd may be about to mount them.
func (s *Snapshotter) completeDevices(ctx context.Context) error {
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, volume := range volumes {
		if !volume.Active || volume.For != ForContainerd {
			continue
		}
		status, err := s.pool.VolumeStatus(ctx, volume.Name)
		if err == nil && status.Active && (status.Failed || status.Suspended) {
			_, err = s.pool.ActivateVolume(ctx, volume.Name)
		}
		if !gone(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
