package thinpool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"thinctl/dm"
	"thinctl/filelock"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// A metadata snapshot has no owner in the kernel, and a pool can have one. So
// the database is told before the kernel is asked for it, and again once its
// block is known; whoever finds it held, and no reading under way, can tell what
// a killed reading of thinctl's left from what is another program's.
//
//	database  -- Reading{transaction} ----- Reading{block, digest} ---- dropped
//	kernel    ----------- reserve_metadata_snap ------ release_metadata_snap --
//
// Between the two records only the transaction id can tell. It is enough: the
// pool's lock is held, so thinctl changes nothing in between, and the snapshot
// carries the id of its moment. A snapshot that another program takes at the
// same id, after a kill just before the kernel was asked, looks the same.

// held is a metadata snapshot that this process holds.
type held struct {
	pool   *Pool
	names  known
	status dm.PoolStatus // after it was taken
	taken  time.Time
	file   MetadataFile
	copy   []byte // of its superblock
	root   metadata.Superblock
}

// reserve takes a metadata snapshot of the active pool. The reading's and the
// pool's lock are held; the second may go once it returns.
func (p *Pool) reserve(ctx context.Context) (_ *held, err error) {
	const op = "read the metadata of"
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.writable(op, status); err != nil {
		return nil, err
	}
	foreign, err := p.releaseLeft(ctx, status)
	if err != nil {
		return nil, err
	}
	if foreign != 0 {
		return nil, p.heldByOther(foreign)
	}
	if err := p.roomToHold(op, status); err != nil {
		return nil, err
	}
	h := &held{pool: p}
	if h.names, err = p.records(ctx); err != nil {
		return nil, err
	}
	note := store.Reading{Process: os.Getpid(), Started: p.host.now(), Transaction: status.TransactionID}
	if err := p.noteReading(ctx, note); err != nil {
		return nil, err
	}
	if _, err := p.host.Kernel.Message(ctx, p.ref(), "reserve_metadata_snap"); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		if errors.Is(err, dm.ErrBusy) {
			_, status, unknown := p.kernelStatus(clean)
			return nil, errors.Join(p.heldByOther(status.HeldRoot), unknown, p.dropReading(clean))
		}
		return nil, errors.Join(err, p.releaseUnsure(clean))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.giveUp(ctx))
		}
	}()
	if err := h.look(ctx); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(h.copy)
	note.Block, note.Digest = h.status.HeldRoot, digest[:]
	if err := p.noteReading(ctx, note); err != nil {
		return nil, err
	}
	return h, nil
}

// roomToHold refuses where holding may use up the metadata: each node that is
// changed meanwhile is there twice.
func (p *Pool) roomToHold(op string, status dm.PoolStatus) error {
	const least = 16 // blocks
	need := max(least, min(metadataLowMost, status.TotalMetadata/4)/4)
	if status.FreeMetadata() >= need {
		return nil
	}
	return &Error{Op: op, Object: p.object(), Kind: ErrReserve,
		Detail: fmt.Sprintf("a metadata snapshot needs room, and %d of %d metadata blocks are free", status.FreeMetadata(), status.TotalMetadata),
		Remedy: fmt.Sprintf("run `thinctl pool extend %s --metadata SIZE`, or remove volumes, or read it while it is inactive", p.name)}
}

// metadataLowMost bounds the kernel's own low-water mark of metadata, in blocks
// (dm-thin.c, calc_metadata_threshold).
const metadataLowMost = 1024

// look finds the snapshot and verifies its superblock.
func (h *held) look(ctx context.Context) (err error) {
	if _, h.status, err = h.pool.kernelStatus(ctx); err != nil {
		return err
	}
	h.taken = h.pool.host.now()
	if h.status.HeldRoot == 0 {
		return h.moved()
	}
	h.file, err = h.pool.host.Disks.Metadata(h.pool.backingPath(h.names.record.Metadata), false)
	if err != nil {
		return err
	}
	if h.copy, err = readHeld(h.file, h.status.HeldRoot); err != nil {
		return err
	}
	if h.root, err = metadata.HeldRoot(h.file, h.status.HeldRoot); err != nil {
		return &Error{Op: "read the metadata of", Object: h.pool.object(), Kind: ErrUnhealthy, Err: err,
			Remedy: fmt.Sprintf("`thinctl pool deactivate %[1]s`, then `thinctl pool check %[1]s`", h.pool.name)}
	}
	return (&Reading{pool: h.pool}).ours(h.root)
}

func readHeld(r io.ReaderAt, block uint64) ([]byte, error) {
	b := make([]byte, metadata.BlockSize)
	n, err := r.ReadAt(b, int64(block)*int64(metadata.BlockSize))
	if n == len(b) {
		return b, nil
	}
	return nil, fmt.Errorf("reading the held root at metadata block %d: %w", block, err)
}

// read calls visit, and then lets go of the snapshot whatever happens.
func (h *held) read(ctx context.Context, visit func(*Reading) error) (err error) {
	defer func() { err = h.finish(ctx, err) }()
	return visit(&Reading{
		ReaderAt: h.file, Root: h.root, DataBlocks: h.status.TotalData, Block: h.names.record.Block, Active: true,
		Taken: h.taken, Kernel: h.status, pool: h.pool, names: h.names,
	})
}

// finish turns what a reading came to into an ErrMoved where the snapshot was
// not there to its end.
func (h *held) finish(ctx context.Context, result error) error {
	ended := h.end(ctx)
	if errors.Is(ended, ErrMoved) {
		return ended // result comes of what was no snapshot any more
	}
	return errors.Join(result, ended)
}

// end releases the snapshot, if it is still the one that was taken, and drops
// the note of it.
func (h *held) end(ctx context.Context) error {
	if h == nil {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	still, err := h.still(clean)
	switch {
	case still:
		err = errors.Join(err, h.release(clean))
	case err == nil:
		err = errors.Join(h.moved(), h.pool.dropReading(clean))
	default: // the note stays: the next reading or activation goes on from here
	}
	return errors.Join(err, h.file.Close())
}

// still compares the snapshot with what it was when it was taken. With an error
// it tells only whether one is held at the same block.
func (h *held) still(ctx context.Context) (bool, error) {
	_, status, err := h.pool.kernelStatus(ctx)
	if err != nil {
		return false, err
	}
	if status.Mode == dm.ModeFail {
		return false, h.pool.writable("release the metadata snapshot of", status)
	}
	if status.HeldRoot != h.status.HeldRoot {
		return false, nil
	}
	now, err := readHeld(h.file, h.status.HeldRoot)
	return err != nil || bytes.Equal(now, h.copy), err
}

func (h *held) release(ctx context.Context) error {
	if _, err := h.pool.host.Kernel.Message(ctx, h.pool.ref(), "release_metadata_snap"); err != nil {
		return fmt.Errorf("releasing the metadata snapshot at block %d, which the next reading or activation does: %w", h.status.HeldRoot, err)
	}
	return h.pool.dropReading(ctx)
}

// giveUp releases a snapshot that was taken and cannot be used. Nobody else can
// have taken it for his own yet.
func (h *held) giveUp(ctx context.Context) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var closed error
	if h.file != nil {
		closed = h.file.Close()
	}
	return errors.Join(h.release(clean), closed)
}

func (h *held) moved() error {
	return &Error{Op: "read the metadata of", Object: h.pool.object(), Kind: ErrBusy, Err: ErrMoved,
		Detail: fmt.Sprintf("it was held at block %d", h.status.HeldRoot),
		Remedy: "find the program that sends release_metadata_snap to the pool, and run this again"}
}

func (p *Pool) heldByOther(block uint64) error {
	return &Error{Op: "read the metadata of", Object: p.object(), Kind: ErrBusy, Err: ErrHeldByOther,
		Detail: fmt.Sprintf("a metadata snapshot is held at block %d, not by thinctl: by a backup or thin_ls, thin_delta or thin_dump with --metadata-snap, or one that was killed", block),
		Remedy: fmt.Sprintf("wait until it is done; if nothing reads the pool: `dmsetup message %s 0 release_metadata_snap`", poolDeviceName(p.name))}
}

// The note in the database.

func (p *Pool) noteReading(ctx context.Context, note store.Reading) error {
	return p.db.Update(ctx, func(tx *store.Tx) error { return tx.PutReading(note) })
}

func (p *Pool) dropReading(ctx context.Context) error {
	return p.db.Update(ctx, func(tx *store.Tx) error { return tx.DropReading() })
}

// readingNote returns the note of a reading, and whether there is one.
func (p *Pool) readingNote(ctx context.Context) (note store.Reading, ok bool, err error) {
	err = p.db.View(ctx, func(tx *store.Tx) (err error) { note, err = tx.Reading(); return err })
	if errors.Is(err, store.ErrNotFound) {
		return note, false, nil
	}
	return note, err == nil, err
}

// releaseLeft releases a metadata snapshot that a killed reading of thinctl's
// left. It returns the block of one that is not thinctl's, or 0. The reading's
// lock is held.
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

// isLeft reports whether the snapshot held at block is the note's.
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

// releaseUnsure ends a reading whose reserve_metadata_snap failed in a way that
// does not say whether it was carried out.
func (p *Pool) releaseUnsure(ctx context.Context) error {
	_, status, err := p.kernelStatus(ctx)
	if err == nil {
		_, err = p.releaseLeft(ctx, status)
	}
	return err
}

// releaseAfterKill is releaseLeft where no reading is under way; the pool's lock
// is held, so that none begins.
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

// awaitReading waits a while for a reading to end, and keeps others from
// beginning until the lock is released.
func (p *Pool) awaitReading(ctx context.Context, op string) (*filelock.Lock, error) {
	bounded, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	turn, err := filelock.Acquire(bounded, p.path(lockFile), readingRange())
	if errors.Is(err, filelock.ErrHeld) && ctx.Err() == nil {
		note, _, _ := p.readingNote(ctx)
		return nil, &Error{Op: op, Object: p.object(), Kind: ErrBusy, Err: err,
			Detail: fmt.Sprintf("process %d reads its metadata since %s", note.Process, note.Started.Format(time.RFC3339)),
			Remedy: "wait until it is done, or end it"}
	}
	return turn, p.failed(op, err)
}
