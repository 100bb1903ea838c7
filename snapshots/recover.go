package snapshots

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"thinctl/internal/filelock"
	"thinctl/thinpool"
)

// Recover clears what killed processes have left: working volumes, views, devices
// and folders. What living ones use it never touches. The pool is recovered first.
func (s *Store) Recover(ctx context.Context) error {
	if err := s.pool.Recover(ctx); err != nil {
		return err
	}
	var works []Work
	err := s.pool.View(ctx, func(tx *thinpool.Tx) (err error) {
		works, err = documents[Work](tx, kindWork)
		return err
	})
	if err == nil {
		err = s.clearDead(ctx, works)
	}
	return failed("recover", "pool "+s.pool.Name(), errors.Join(err, s.clearFolders(ctx), s.clearDevices(ctx)))
}

// clearFolders clears the views of killed processes, and the folders of works
// and containers that are not there any more.
func (s *Store) clearFolders(ctx context.Context) error {
	entries, err := os.ReadDir(s.mountsDir())
	if err != nil {
		return err
	}
	var faults []error
	for _, entry := range entries {
		if id, volume, ok := splitView(entry.Name()); ok {
			faults = append(faults, s.clearDeadView(ctx, id, volume, filepath.Join(s.mountsDir(), entry.Name())))
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

// clearDevices puts away devices of layers, inits, templates and containers that
// nobody has open: a killed process was about to mount them, or had unmounted
// them.
func (s *Store) clearDevices(ctx context.Context) error {
	volumes, err := s.pool.Volumes(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, volume := range volumes {
		if volume.Active && isOurs(volume.For) && volume.For != forWork {
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
	if err := s.deactivateFree(ctx, volume.Name); err != nil && !goneBelow(err) {
		return err
	}
	return nil
}
