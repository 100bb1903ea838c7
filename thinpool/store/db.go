package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"thinctl/fault"

	bolt "go.etcd.io/bbolt"
)

// The errors that callers may test for with errors.Is. A record that is not there has
// the kind fault.NotFound.
var (
	// ErrNoDatabase reports that the file does not exist. View, Update.
	ErrNoDatabase = fault.New(fault.Unavailable, "no database")
	// ErrCorrupt reports a file that is damaged or no pool's database. View, Update.
	ErrCorrupt = fault.New(fault.Damaged, "the database is damaged")
	// ErrIDsExhausted reports that all 2^24-1 device ids are taken. AllocateID.
	ErrIDsExhausted = fault.New(fault.Full, "all 16777215 device ids of the pool are in use")
)

// keepOpen is how long the file stays open, unlocked, after a transaction.
const keepOpen = time.Minute

// DB is a database by its path. Its methods are safe for concurrent use.
type DB struct {
	path string
	// Before is called before each transaction if it is not nil. Its error ends the
	// transaction. Tests stop a process there.
	Before func(write bool) error

	turn    chan struct{} // holds a token while a transaction uses the fields below
	session *session      // nil while closed
	used    time.Time
	idle    *time.Timer

	changed atomic.Bool // since the last Copy
}

// At returns the database at path, which need not exist yet.
func At(path string) *DB { return &DB{path: path, turn: make(chan struct{}, 1)} }

// Create makes the file with mode 0600 and its buckets. The file must not exist.
func (d *DB) Create(ctx context.Context, pool Pool) error {
	file, err := os.OpenFile(d.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	file.Close()
	empty, err := bolt.Open(d.path, 0o600, nil)
	if err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	if err := empty.Close(); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	d.changed.Store(true)
	return d.transact(ctx, true, func(tx *bolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return (&Tx{bolt: tx}).PutPool(pool)
	})
}

// View runs f over one consistent state. f must not begin another transaction.
func (d *DB) View(ctx context.Context, f func(*Tx) error) error {
	return d.transact(ctx, false, func(tx *bolt.Tx) error { return ours(tx, f) })
}

// Update runs f and makes what it wrote durable, all or nothing. f must not
// begin another transaction.
func (d *DB) Update(ctx context.Context, f func(*Tx) error) error {
	err := d.Note(ctx, f)
	if err == nil {
		d.changed.Store(true)
	}
	return err
}

// Note is Update for a record of work in progress. It does not mark the database as changed
// for the next copy.
func (d *DB) Note(ctx context.Context, f func(*Tx) error) error {
	return d.transact(ctx, true, func(tx *bolt.Tx) error { return ours(tx, f) })
}

// ours runs f if all buckets are there.
func ours(tx *bolt.Tx, f func(*Tx) error) error {
	for _, name := range buckets() {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: it has no %s", ErrCorrupt, name)
		}
	}
	return f(&Tx{bolt: tx})
}

// Close closes the file if it is still open. The next transaction opens it
// again.
func (d *DB) Close() error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return d.drop()
}

func (d *DB) transact(ctx context.Context, write bool, f func(*bolt.Tx) error) (err error) {
	if d.Before != nil {
		if err := d.Before(write); err != nil {
			return err
		}
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the database %s: %w", d.path, ctx.Err())
	}
	defer func() { <-d.turn }()
	for {
		if err := d.begin(ctx, write); err != nil {
			return err
		}
		if err := d.run(write, f); !errors.Is(err, errStale) {
			return err
		}
	}
}

// begin makes d.session a session that can run the transaction and has the lock.
func (d *DB) begin(ctx context.Context, write bool) error {
	if d.session != nil && (d.session.writable || !write) {
		err := d.session.lock(ctx, write)
		if err == nil && d.session.unchanged(d.path) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := d.drop(); err != nil {
		return err
	}
	session, err := openSession(ctx, d.path, write)
	if err != nil {
		return err
	}
	d.session = session
	return nil
}

// run runs the transaction and releases the lock. It closes a session whose commit failed,
// or whose file another process has written since.
func (d *DB) run(write bool, f func(*bolt.Tx) error) (err error) {
	sound := false
	defer func() {
		if !sound {
			err = errors.Join(err, d.drop())
			return
		}
		err = errors.Join(err, d.session.unlock())
		d.closeLater()
	}()
	sound, err = d.session.run(write, f)
	return err
}

func (d *DB) drop() error {
	if d.session == nil {
		return nil
	}
	err := d.session.close()
	d.session = nil
	return err
}

func (d *DB) closeLater() {
	d.used = time.Now()
	if d.idle == nil {
		d.idle = time.AfterFunc(keepOpen, d.closeIdle)
	} else {
		d.idle.Reset(keepOpen)
	}
}

func (d *DB) closeIdle() {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if time.Since(d.used) >= keepOpen {
		_ = d.drop() // nothing is lost with it: each commit was synced
	}
}
