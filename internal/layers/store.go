package layers

import (
	"context"
	"time"

	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// Options are the options of a store.
type Options struct {
	// FS is the file system of new base layers for which the caller names none; "" is
	// ext4. The first mount of a snapshot writes one block of the pool with ext4, and
	// about thirty with xfs.
	FS filesystem.Type
	// FormatArgs are further arguments of mkfs.
	FormatArgs []string
	// Now is the clock of records; nil is time.Now.
	Now func() time.Time
}

// Store is the layers and containers of one pool. It holds no state between calls; any
// number of Stores, in any number of processes, may use one pool. Methods are safe for
// concurrent use.
type Store struct {
	pool    *thinpool.Pool
	files   snapshots.Files
	snaps   *snapshots.Snapshotter
	options Options
}

// New returns the store of a pool. It changes nothing.
func New(pool *thinpool.Pool, files snapshots.Files, o Options) *Store {
	snaps, err := snapshots.New(pool, files,
		snapshots.Options{Namespace: snapshots.Local, FormatArgs: o.FormatArgs, Now: o.Now})
	if err != nil {
		panic(err) // these options are valid
	}
	return &Store{pool: pool, files: files, snaps: snaps, options: o}
}

// Pool returns the pool that the store is in.
func (s *Store) Pool() *thinpool.Pool { return s.pool }

// MountsDir returns the pool's directory of mounts, in the form in which the kernel lists
// mount points.
func (s *Store) MountsDir() string { return s.snaps.MountsDir() }

// Recover removes what killed processes left: see [snapshots.Snapshotter.Recover].
func (s *Store) Recover(ctx context.Context) error { return s.snaps.Recover(ctx) }

func (s *Store) now() time.Time {
	if s.options.Now != nil {
		return s.options.Now().UTC()
	}
	return time.Now().UTC()
}

// shape returns the type and size of a base layer, with the defaults filled in.
func (s *Store) shape(ctx context.Context, fs filesystem.Type, size units.Bytes) (filesystem.Type, units.Bytes, error) {
	if size == 0 {
		record, err := s.pool.Record(ctx)
		if err != nil {
			return "", 0, err
		}
		size = record.BaseSize
	}
	if fs == "" {
		fs = s.options.FS
	}
	if fs == "" {
		fs = filesystem.Ext4
	}
	return fs, size, nil
}
