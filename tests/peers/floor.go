package main

import (
	"context"
	"errors"
	"path/filepath"

	"thinctl/dm"
	"thinctl/fault"
)

// floor is the ioctls alone, with one fsync for each operation.
type floor struct {
	*rawPool
	journal *syncedFile
}

func newFloor(ctx context.Context, f fixture) (peer, error) {
	pool, err := newRawPool(ctx, f, "floor")
	if err != nil {
		return nil, err
	}
	journal, err := newSyncedFile(filepath.Join(f.dir, "floor.journal"))
	return &floor{pool, journal}, err
}

func (f *floor) name() string { return "floor" }

func (f *floor) create(ctx context.Context, volume string) error {
	if err := f.journal.note(); err != nil {
		return err
	}
	if err := f.message(ctx, "create_thin %d", f.newID(volume)); err != nil {
		return err
	}
	return f.message(ctx, "%s", f.step())
}

func (f *floor) snapshot(ctx context.Context, volume string) error {
	if err := f.journal.note(); err != nil {
		return err
	}
	id := f.newID(volume)
	origin := dm.ByName(f.node("origin"))
	if err := f.kernel.Suspend(ctx, origin, dm.SuspendOptions{}); err != nil {
		return err
	}
	err := f.message(ctx, "create_snap %d %d", id, originID)
	if _, resumed := f.kernel.Resume(ctx, origin, dm.ResumeOptions{}); resumed != nil || err != nil {
		return errors.Join(err, resumed)
	}
	if err := f.message(ctx, "%s", f.step()); err != nil {
		return err
	}
	_, err = f.bringUp(ctx, f.node(volume), f.table(id))
	return err
}

func (f *floor) remove(ctx context.Context, volume string) error {
	if err := f.journal.note(); err != nil {
		return err
	}
	_, err := f.kernel.Remove(ctx, dm.ByName(f.node(volume)), dm.RemoveOptions{})
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return f.message(ctx, "delete %d", f.ids[volume])
}
