package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"thinctl/filelock"
)

// Errors of this package.
var (
	// ErrNoDatabase: the file does not exist. View, Update.
	ErrNoDatabase = errors.New("no database")
	// ErrCorrupt: the file is not a database of ours, or is damaged. View, Update.
	ErrCorrupt = errors.New("the database is damaged")
	// ErrNotFound: no such record. Pool, Volume.
	ErrNotFound = errors.New("no such record")
	// ErrIDsExhausted: all 2^24 device ids are taken. AllocateID.
	ErrIDsExhausted = errors.New("all 16777215 device ids of the pool are in use")
)

// DB is a database by its path. It holds nothing open.
type DB struct {
	path string
	// Before, where set, is asked before each transaction; its error ends the
	// transaction with nothing done. Tests stop a process there.
	Before func(write bool) error
}

// At returns the database at path, which need not exist yet.
func At(path string) *DB { return &DB{path: path} }

// Create makes the file, 0600, with its buckets; the file must not exist.
func (d *DB) Create(ctx context.Context, pool Pool) error {
	file, err := os.OpenFile(d.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	file.Close()
	return d.transact(ctx, true, func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketVolumes, bucketIDs, bucketTombstones} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return (&Tx{tx}).PutPool(pool)
	})
}

// View runs f over one consistent state.
func (d *DB) View(ctx context.Context, f func(*Tx) error) error {
	return d.transact(ctx, false, func(tx *bolt.Tx) error { return f(&Tx{tx}) })
}

// Update runs f and makes what it wrote durable, all or nothing.
func (d *DB) Update(ctx context.Context, f func(*Tx) error) error {
	return d.transact(ctx, true, func(tx *bolt.Tx) error { return f(&Tx{tx}) })
}

func (d *DB) transact(ctx context.Context, write bool, f func(*bolt.Tx) error) (err error) {
	if d.Before != nil {
		if err := d.Before(write); err != nil {
			return err
		}
	}
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d.path, ErrNoDatabase)
	}
	// bbolt's own lock polls every 50 ms; ours is quicker, so its never waits.
	lock, err := filelock.Acquire(ctx, d.path+".lock", filelock.Range{Shared: !write})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	db, err := open(d.path, write)
	if err != nil {
		return err
	}
	if write {
		err = db.Update(f)
	} else {
		err = db.View(f)
	}
	return errors.Join(err, db.Close())
}

func open(path string, write bool) (db *bolt.DB, err error) {
	// bbolt panics on some damaged files instead of returning an error.
	defer func() {
		if broken := recover(); broken != nil {
			db, err = nil, fmt.Errorf("%s: %w: %v", path, ErrCorrupt, broken)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{
		ReadOnly:     !write,
		Timeout:      10 * time.Second,
		FreelistType: bolt.FreelistMapType,
	})
	if errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch) {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", path, err)
	}
	return db, nil
}
