package thinpool

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/thinpool/store"
)

// Pool is a pool, addressed by its directory. Between calls it holds no lock; only its
// database file stays open for a while. Any number of Pools, in any number of processes,
// may use the same pool. Methods are safe for concurrent use.
type Pool struct {
	host Host
	dir  string
	name string
	id   uuid
	db   *store.DB

	changes batcher
	idCache volumeIDs
	reaped  struct {
		sync.Mutex
		// ids are reaped, while the database still has their tombstones. The next
		// change deletes these.
		ids map[uint32]bool
		// vain has the ids whose devices stayed open until the timeout of a wait.
		vain map[uint32]bool
	}
}

// Open opens the pool of that name under root. It changes nothing. The pool may be
// inactive.
func Open(ctx context.Context, host Host, root, name string) (*Pool, error) {
	if err := CheckPoolName(name); err != nil {
		return nil, err
	}
	p := newPool(host, filepath.Join(root, name), name)
	record, err := p.Record(ctx)
	if errors.Is(err, store.ErrNoDatabase) && !p.lostDatabase() {
		return nil, &Error{Op: "open", Object: "pool " + name, Kind: ErrNoPool,
			Detail: "no pool in " + p.dir, Cure: Cure{Code: CureListPools}}
	}
	if err != nil {
		return nil, p.unreadable("open", err)
	}
	p.id, err = parseUUID(record.UUID)
	return p, err
}

func newPool(host Host, dir, name string) *Pool {
	p := &Pool{host: host, dir: dir, name: name, db: store.At(filepath.Join(dir, databaseFile))}
	p.db.Before = host.BeforeStore
	p.changes.running = make(chan struct{}, 1)
	p.reaped.ids, p.reaped.vain = map[uint32]bool{}, map[uint32]bool{}
	return p
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// UUID returns the pool's identity, 32 hex digits.
func (p *Pool) UUID() string { return p.id.String() }

// Dir returns the pool's directory.
func (p *Pool) Dir() string { return p.dir }

// MountsDir returns the directory for mounts of the pool's volumes.
func (p *Pool) MountsDir() string { return p.path(mountsDir) }

// LayersDir returns the directory for files that belong to layers. It may not exist.
// Destroy deletes it.
func (p *Pool) LayersDir() string { return p.path(layersDir) }

// Record reads the pool's record from the database.
func (p *Pool) Record(ctx context.Context) (store.Pool, error) {
	var record store.Pool
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		record, err = tx.Pool()
		return err
	})
	return record, err
}

// Close deletes the tombstones that were reaped, copies the database if it was changed, and
// closes it. It does not deactivate the pool.
func (p *Pool) Close(ctx context.Context) error {
	err := p.writeReaped(ctx)
	if p.db.Changed() {
		_ = p.CopyDatabase(ctx) // the change itself is committed, so a failed copy is no error of Close
	}
	return errors.Join(err, p.db.Close())
}

// NoteReaped deletes the tombstones that were reaped, if no change has done so. Until then
// other processes count them as waiting.
func (p *Pool) NoteReaped(ctx context.Context) error { return p.writeReaped(ctx) }

func (p *Pool) writeReaped(ctx context.Context) error {
	done := p.takeReaped()
	if len(done) == 0 {
		return nil
	}
	err := p.db.Update(ctx, func(tx *store.Tx) error { return dropReaped(tx, done) })
	if errors.Is(err, store.ErrNoDatabase) {
		return nil // the pool has been destroyed, and its tombstones with it
	}
	if err != nil {
		p.noteReaped(done...)
	}
	return err
}

func (p *Pool) object() string { return "pool " + p.name }

func (p *Pool) ref() dm.Ref { return dm.ByUUID(poolDeviceUUID(p.id.String())) }

func (p *Pool) volumeRef(id uint32) dm.Ref { return dm.ByUUID(volumeDeviceUUID(p.id.String(), id)) }

// The bytes of the lock file are locks: the first byte is the pool's, then there is one
// for each device id. A volume's lock is taken before the pool's.

// readingRange is the last byte, beyond all ids: the lock for reading the metadata. It is
// taken before the pool's lock, and held while the pool's lock is free.
func readingRange() filelock.Range {
	return filelock.Range{Start: 2 + dm.MaxThinID, Length: 1}
}

func (p *Pool) lockReading(ctx context.Context) (*filelock.Lock, error) {
	lock, err := filelock.Acquire(ctx, p.path(lockFile), readingRange())
	return lock, p.failed("wait for another reading of the metadata of", err)
}

func (p *Pool) lock(ctx context.Context) (*filelock.Lock, error) {
	lock, err := filelock.Acquire(ctx, p.path(lockFile), filelock.Range{Start: 0, Length: 1})
	return lock, p.failed("lock", err)
}

func volumeRange(id uint32) filelock.Range {
	return filelock.Range{Start: 1 + int64(id), Length: 1}
}

func (p *Pool) lockVolume(ctx context.Context, id uint32, shared bool) (*filelock.Lock, error) {
	span := volumeRange(id)
	span.Shared = shared
	lock, err := filelock.Acquire(ctx, p.path(lockFile), span)
	return lock, p.failed("lock", err)
}

// kernelStatus reads the status of the active pool, without committing its metadata.
func (p *Pool) kernelStatus(ctx context.Context) (dm.Info, dm.PoolStatus, error) {
	info, lines, err := p.host.Kernel.Status(ctx, p.ref(), dm.StatusOptions{NoFlush: true})
	if errors.Is(err, fault.NotFound) || err == nil && len(lines) == 0 {
		return info, dm.PoolStatus{}, &Error{Op: "status", Object: p.object(), Kind: ErrInactive,
			Cure: p.cure(CureActivate)}
	}
	if err != nil {
		return info, dm.PoolStatus{}, p.failed("status", err)
	}
	status, err := dm.ParsePoolStatus(lines[0])
	return info, status, p.failed("status", err)
}

// transactionID returns the pool's transaction id, the commit record.
func (p *Pool) transactionID(ctx context.Context) (uint64, error) {
	return p.reached(ctx, func() (store.Pool, error) { return p.Record(ctx) })
}

// reached reads the commit record from the kernel if the pool is active, else from the
// metadata at the place in the pool's record.
func (p *Pool) reached(ctx context.Context, record func() (store.Pool, error)) (uint64, error) {
	_, status, err := p.kernelStatus(ctx)
	if err == nil && status.Mode != dm.ModeFail {
		return status.TransactionID, nil
	}
	if err != nil && !errors.Is(err, ErrInactive) {
		return 0, err
	}
	pool, err := record()
	if err != nil {
		return 0, err
	}
	super, err := p.host.Disks.Superblock(p.backingPath(pool.Metadata))
	if err != nil {
		return 0, p.failed("read the metadata of", err)
	}
	return super.TransactionID, nil
}
