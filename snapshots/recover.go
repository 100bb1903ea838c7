package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"thinctl/internal/filelock"
	"thinctl/thinpool"
)

// Recover removes what killed processes left: working volumes, views, devices and
// directories. It does not touch what running processes use. It recovers the pool
// first.
func (s *Store) Recover(ctx context.Context) error {
	if err := s.pool.Recover(ctx); err != nil {
		return err
	}
	var leases []Lease
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		leases, err = documents[Lease](tx, kindLeases)
		return err
	})
	if err == nil {
		err = s.clearDead(ctx, leases)
	}
	return failed("recover", "pool "+s.pool.Name(), errors.Join(err, s.clearDirs(ctx), s.clearDevices(ctx)))
}

// clearDirs removes the views of killed processes, and the directories of leases and
// containers that no longer exist.
func (s *Store) clearDirs(ctx context.Context) error {
	entries, err := os.ReadDir(s.MountsDir())
	if err != nil {
		return err
	}
	var faults []error
	for _, entry := range entries {
		if id, volume, ok := splitView(entry.Name()); ok {
			faults = append(faults, s.clearDeadView(ctx, id, volume, filepath.Join(s.MountsDir(), entry.Name())))
		}
	}
	return errors.Join(faults...)
}

func (s *Store) clearDeadView(ctx context.Context, id, volume, root string) error {
	alive, err := s.tryLock(lockView, id)
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
	return s.clearView(ctx, root, volume, true)
}

// clearDevices deactivates the devices of layers, inits, templates and containers that
// no process has open: a killed process was about to mount them, or had unmounted them.
func (s *Store) clearDevices(ctx context.Context) error {
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, volume := range volumes {
		if volume.Active && isOurs(volume.For) && volume.For != forLease {
			faults = append(faults, s.clearDevice(ctx, volume))
		}
	}
	return errors.Join(faults...)
}

func (s *Store) clearDevice(ctx context.Context, volume thinpool.Volume) error {
	lock, err := s.tryLock(lockVolume, volume.Name)
	if errors.Is(err, filelock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := s.deactivateUnused(ctx, volume.Name); err != nil && !originGone(err) {
		return err
	}
	return nil
}
