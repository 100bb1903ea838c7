package thinpool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// A pool can have one metadata snapshot, and the kernel does not record its owner.
// So the database records a reading before the kernel takes the snapshot, and again
// when its block is known. A later process that finds a snapshot held, and no reading
// in progress, uses the record. It distinguishes the snapshot of a killed thinctl from
// that of another program.
//
//	database  -- Reading{transaction} ----- Reading{block, digest} ---- dropped
//	kernel    ----------- reserve_metadata_snap ------ release_metadata_snap --
//
// After a kill between the two records, only the transaction id identifies the
// snapshot. It is enough: the pool's lock is held, so thinctl changes nothing in the
// meantime, and the snapshot carries the transaction id of its moment. One case
// remains: thinctl is killed before its message to the kernel, and another program
// takes a snapshot at the same id. That snapshot is mistaken for thinctl's.

func (p *Pool) noteReading(ctx context.Context, note store.Reading) error {
	return p.db.Note(ctx, func(tx *store.Tx) error { return tx.PutReading(note) })
}

func (p *Pool) dropReading(ctx context.Context) error {
	return p.db.Note(ctx, func(tx *store.Tx) error { return tx.DropReading() })
}

// readingNote returns the note of a reading. ok is false if there is none.
func (p *Pool) readingNote(ctx context.Context) (note store.Reading, ok bool, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) (err error) { note, err = tx.Reading(); return err })
	if errors.Is(err, fault.NotFound) {
		return note, false, nil
	}
	return note, err == nil, err
}

// releaseLeft releases a metadata snapshot that a killed reading of thinctl left. It
// returns the block of a snapshot that is not thinctl's, or 0. The caller holds the
// lock for reading.
func (p *Pool) releaseLeft(ctx context.Context, status dm.PoolStatus) (foreign uint64, err error) {
	note, noted, err := p.readingNote(ctx)
	if err != nil || !noted {
		return status.HeldRoot, err
	}
	if status.HeldRoot == 0 {
		return 0, p.dropReading(ctx)
	}
	ours, err := p.isLeft(ctx, note, status.HeldRoot)
	if err != nil {
		return status.HeldRoot, err
	}
	if !ours {
		return status.HeldRoot, p.dropReading(ctx)
	}
	if _, err := p.host.Kernel.Message(ctx, p.ref(), "release_metadata_snap"); err != nil {
		return status.HeldRoot, err
	}
	return 0, p.dropReading(ctx)
}

// isLeft reports whether the snapshot held at block is the one in the note.
func (p *Pool) isLeft(ctx context.Context, note store.Reading, block uint64) (_ bool, err error) {
	if note.Block != 0 && note.Block != block {
		return false, nil
	}
	record, err := p.Record(ctx)
	if err != nil {
		return false, err
	}
	file, err := p.host.Disks.Metadata(p.backingPath(record.Metadata), false)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if note.Block == 0 {
		root, err := metadata.HeldRoot(file, block)
		return root.TransactionID == note.Transaction, err
	}
	b, err := readHeld(file, block)
	digest := sha256.Sum256(b)
	return bytes.Equal(digest[:], note.Digest), err
}

// releaseUnsure ends a reading after an error of reserve_metadata_snap that does not
// show whether the kernel took the snapshot.
func (p *Pool) releaseUnsure(ctx context.Context) error {
	_, status, err := p.kernelStatus(ctx)
	if err == nil {
		_, err = p.releaseLeft(ctx, status)
	}
	return err
}

// releaseAfterKill calls releaseLeft if no reading is in progress. The caller holds the
// pool's lock, so that none begins.
func (p *Pool) releaseAfterKill(ctx context.Context) error {
	_, noted, err := p.readingNote(ctx)
	if err != nil || !noted {
		return err
	}
	turn, err := filelock.Try(p.path(lockFile), readingRange())
	if errors.Is(err, filelock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	_, status, err := p.kernelStatus(ctx)
	if err == nil {
		_, err = p.releaseLeft(ctx, status)
	}
	return errors.Join(err, turn.Release())
}

// noteTimeout bounds the wait for a reading of the metadata by another process.
const noteTimeout = 30 * time.Second

// awaitReading waits for a reading to end, at most for noteTimeout. No other reading
// begins until the caller releases the lock.
func (p *Pool) awaitReading(ctx context.Context, op string) (*filelock.Lock, error) {
	bounded, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	turn, err := filelock.Acquire(bounded, p.path(lockFile), readingRange())
	if errors.Is(err, filelock.ErrHeld) && ctx.Err() == nil {
		note, _, _ := p.readingNote(ctx)
		return nil, &Error{Op: op, Object: p.object(), Kind: fault.Busy, Err: err,
			Detail: fmt.Sprintf("process %d has been reading its metadata since %s",
				note.Process, note.Started.Format(time.RFC3339)),
			Remedy: "wait until the process is done, or stop it"}
	}
	return turn, p.failed(op, err)
}
