package thinpool

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"thinctl/internal/filelock"
	"thinctl/thinpool/store"
)

// holdVolume finds a volume and locks it. The record is valid until unlock.
func (p *Pool) holdVolume(ctx context.Context, op, name string) (_ store.Volume, unlock func(), err error) {
	return p.holdAs(ctx, op, name, false)
}

// shareVolume is holdVolume with a shared lock, for operations that do not change the
// volume.
func (p *Pool) shareVolume(ctx context.Context, op, name string) (_ store.Volume, unlock func(), err error) {
	return p.holdAs(ctx, op, name, true)
}

func (p *Pool) holdAs(ctx context.Context, op, name string, shared bool) (_ store.Volume, unlock func(), err error) {
	lock, id := p.tryCached(name, shared)
	for {
		if lock == nil {
			volume, err := p.findVolume(ctx, op, name)
			if err != nil {
				return volume, nil, err
			}
			id = volume.ID
			if lock, err = p.lockVolume(ctx, id, shared); err != nil {
				return volume, nil, err
			}
		}
		// Another volume may have got the name before the lock was taken.
		volume, err := p.findVolume(ctx, op, name)
		if err == nil && volume.ID == id {
			p.idCache.put(name, id)
			return volume, func() { lock.Release() }, nil
		}
		p.idCache.drop(name)
		if err := errors.Join(err, lock.Release()); err != nil {
			return volume, nil, err
		}
		lock = nil
	}
}

// holdVolumes locks several volumes, in the order of their ids, so that two callers never
// wait for each other.
func (p *Pool) holdVolumes(ctx context.Context, op string, names []string) ([]store.Volume, func(), error) {
	if len(names) == 1 {
		record, unlock, err := p.holdVolume(ctx, op, names[0])
		return []store.Volume{record}, unlock, err
	}
	var records []store.Volume
	for _, name := range names {
		record, err := p.findVolume(ctx, op, name)
		if err != nil {
			return nil, nil, err
		}
		records = append(records, record)
	}
	inOrder := slices.SortedFunc(slices.Values(records), func(a, b store.Volume) int { return cmp.Compare(a.ID, b.ID) })
	var unlocks []func()
	unlock := func() {
		for _, unlock := range unlocks {
			unlock()
		}
	}
	for _, record := range inOrder {
		held, release, err := p.holdVolume(ctx, op, record.Name)
		if err == nil {
			unlocks = append(unlocks, release)
			if held.ID != record.ID {
				err = p.volumeError(op, record.Name, ErrNoVolume, errors.New("another volume has its name now"))
			}
		}
		if err != nil {
			unlock()
			return nil, nil, err
		}
	}
	return records, unlock, nil
}

// tryCached locks the volume that had the name at its last use, if the lock is free. In
// most cases the volume still has the name, which saves one read of the database. It does
// not wait, because the lock may be another volume's now.
func (p *Pool) tryCached(name string, shared bool) (*filelock.Lock, uint32) {
	id, ok := p.idCache.get(name)
	if !ok {
		return nil, 0
	}
	span := volumeRange(id)
	span.Shared = shared
	lock, err := filelock.Try(p.path(lockFile), span)
	if err != nil {
		return nil, 0
	}
	return lock, id
}

// volumeIDs is a cache of device ids by volume name. An entry may be wrong: other processes
// remove and create volumes too.
type volumeIDs struct {
	sync.Mutex
	ids map[string]uint32
}

func (k *volumeIDs) get(name string) (uint32, bool) {
	k.Lock()
	defer k.Unlock()
	id, ok := k.ids[name]
	return id, ok
}

func (k *volumeIDs) put(name string, id uint32) {
	const enough = 1024
	k.Lock()
	defer k.Unlock()
	if k.ids == nil || len(k.ids) >= enough {
		k.ids = map[string]uint32{}
	}
	k.ids[name] = id
}

func (k *volumeIDs) drop(name string) {
	k.Lock()
	defer k.Unlock()
	delete(k.ids, name)
}
