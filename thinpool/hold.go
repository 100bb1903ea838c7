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

// holdVolume finds a volume and locks it; what it returns holds until unlock.
func (p *Pool) holdVolume(ctx context.Context, op, name string) (_ store.Volume, unlock func(), err error) {
	return p.holdAs(ctx, op, name, false)
}

// shareVolume is holdVolume for those who change nothing of the volume's own: any
// number may hold it so.
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
		// The name may have gone to another volume before the lock was ours.
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

// holdVolumes locks several volumes, in the order of their ids so that two who
// want the same never wait for each other.
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
				err = p.volumeError(op, record.Name, ErrNoVolume, errors.New("another volume has taken its name meanwhile"))
			}
		}
		if err != nil {
			unlock()
			return nil, nil, err
		}
	}
	return records, unlock, nil
}

// tryCached locks the volume that had the name when it was last used here, if
// that is free at once. Often it still has it, and one look under the lock does
// instead of two. A caller is never kept waiting for a lock that may be another
// volume's by now.
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

// volumeIDs remembers device ids by volume name. They are guesses: other
// processes remove and make volumes too.
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
