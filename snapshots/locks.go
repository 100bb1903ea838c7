package snapshots

import (
	"context"
	"hash/fnv"
	"maps"
	"path/filepath"
	"slices"

	"thinctl/internal/filelock"
)

// lockFile is in the pool's directory. Its bytes are locks by kind and name. The kernel
// releases them when their process ends, so the holder of a lock is alive.
const lockFile = "work.lock"

type lockKind int64

const (
	lockLease    lockKind = iota + 1 // a lease is alive
	lockTree                         // the mount of a tree is alive
	lockObject                       // an object of the packages above is being made
	lockTemplate                     // a template is being made
	lockVolume                       // a volume's device and mounts are changed
)

// Each kind has its own range, because the holder of one lock may wait for one of
// another kind. Two names of a kind may share a byte, and then wait for each other: a
// caller that needs several takes them in order, each byte once. The names of leases
// and mounts are random.
const kindBits = 58 // leaves 31 kinds below the largest offset

func span(kind lockKind, name string) filelock.Range {
	h := fnv.New64a()
	h.Write([]byte(name))
	return filelock.Range{Start: int64(kind)<<kindBits | int64(h.Sum64()&(1<<kindBits-1)), Length: 1}
}

func (s *Snapshotter) lockPath() string { return filepath.Join(s.pool.Dir(), lockFile) }

func (s *Snapshotter) lock(ctx context.Context, kind lockKind, name string) (*filelock.Lock, error) {
	return filelock.Acquire(ctx, s.lockPath(), span(kind, name))
}

func (s *Snapshotter) tryLock(kind lockKind, name string) (*filelock.Lock, error) {
	return filelock.Try(s.lockPath(), span(kind, name))
}

// LockVolume locks the device and the mounts of a volume against other processes. The
// caller releases the lock.
func (s *Snapshotter) LockVolume(ctx context.Context, volume string) (*filelock.Lock, error) {
	return s.lock(ctx, lockVolume, volume)
}

// LockObject locks a name that the caller chooses, for the time in which it makes the
// object of that name. The caller releases the lock.
func (s *Snapshotter) LockObject(ctx context.Context, name string) (*filelock.Lock, error) {
	return s.lock(ctx, lockObject, name)
}

// LockVolumes takes the locks of several volumes.
func (s *Snapshotter) LockVolumes(ctx context.Context, names []string) (unlock func(), err error) {
	spans := map[int64]filelock.Range{}
	for _, name := range names {
		one := span(lockVolume, name)
		spans[one.Start] = one
	}
	var held []*filelock.Lock
	unlock = func() {
		for _, lock := range held {
			lock.Release()
		}
	}
	for _, start := range slices.Sorted(maps.Keys(spans)) {
		lock, err := filelock.Acquire(ctx, s.lockPath(), spans[start])
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, lock)
	}
	return unlock, nil
}
