package snapshots

import (
	"errors"
	"path/filepath"
	"time"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
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
	files   Files
	options Options
}

// New returns the store of a pool. It changes nothing.
func New(pool *thinpool.Pool, files Files, o Options) *Store {
	return &Store{pool: pool, files: files, options: o}
}

// Pool returns the pool that the store is in.
func (s *Store) Pool() *thinpool.Pool { return s.pool }

func (s *Store) now() time.Time {
	if s.options.Now != nil {
		return s.options.Now().UTC()
	}
	return time.Now().UTC()
}

// MountsDir returns the pool's directory of mounts, in the form in which the kernel lists
// mount points.
func (s *Store) MountsDir() string { return resolved(s.pool.MountsDir()) }

func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(dir, filepath.Base(path))
}

// document reads one document; ok is false if there is none.
func document[T any](tx *thinpool.Tx, kind thinpool.DocumentKind, key string) (record T, ok bool, err error) {
	err = tx.Get(kind, key, &record)
	if errors.Is(err, fault.NotFound) {
		return record, false, nil
	}
	return record, err == nil, err
}

// documents reads all documents of a kind, in the order of their keys.
func documents[T any](tx *thinpool.Tx, kind thinpool.DocumentKind) ([]T, error) {
	var all []T
	for entry, err := range thinpool.Documents[T](tx, kind, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, entry.Record)
	}
	return all, nil
}
