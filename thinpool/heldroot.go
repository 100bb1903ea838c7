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
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
)

// held is a metadata snapshot that this process holds.
type held struct {
	pool   *Pool
	names  known
	status dm.PoolStatus // after it was taken
	taken  time.Time
	file   MetadataFile
	copy   []byte // the contents of its superblock when it was taken
	root   metadata.Superblock
}

// reserve takes a metadata snapshot of the active pool. The caller holds the lock for
// reading and the pool's lock. It may release the pool's lock when reserve returns.
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
	if err := p.checkSnapshotSpace(op, status); err != nil {
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
		clean, cancel := contexts.Cleanup(ctx)
		defer cancel()
		if errors.Is(err, fault.Busy) {
			_, status, unknown := p.kernelStatus(clean)
			return nil, errors.Join(p.heldByOther(status.HeldRoot), unknown, p.dropReading(clean))
		}
		return nil, errors.Join(err, p.releaseUnsure(clean))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.abandon(ctx, errors.Is(err, ErrMoved)))
		}
	}()
	if err := h.inspect(ctx); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(h.copy)
	note.Block, note.Digest = h.status.HeldRoot, digest[:]
	if err := p.noteReading(ctx, note); err != nil {
		return nil, err
	}
	return h, nil
}

// checkSnapshotSpace returns an error if a metadata snapshot may exhaust the metadata:
// each node that changes while the snapshot is held occupies two blocks.
func (p *Pool) checkSnapshotSpace(op string, status dm.PoolStatus) error {
	const least = 16 // blocks
	need := max(least, min(metadataLowMost, status.TotalMetadata/4)/4)
	if status.FreeMetadata() >= need {
		return nil
	}
	return &Error{Op: op, Object: p.object(), Kind: ErrReserve,
		Detail: fmt.Sprintf("a metadata snapshot needs free space, and %d of %d metadata blocks are free",
			status.FreeMetadata(), status.TotalMetadata),
		Cure: p.cure(CureReadInactive)}
}

// metadataLowMost is the upper bound of the kernel's low-water mark of metadata, in
// blocks (dm-thin.c, calc_metadata_threshold).
const metadataLowMost = 1024

// inspect reads where the snapshot is, and verifies its superblock.
func (h *held) inspect(ctx context.Context) (err error) {
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
		return &Error{Op: "read the metadata of", Object: h.pool.object(), Kind: fault.Unhealthy, Err: err,
			Cure: h.pool.cure(CureCheckInactive)}
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

// read calls visit, and then releases the snapshot in any case.
func (h *held) read(ctx context.Context, visit func(*Reading) error) (err error) {
	defer func() { err = h.finish(ctx, err) }()
	return visit(&Reading{
		ReaderAt: h.file, Root: h.root, DataBlocks: h.status.TotalData, Block: h.names.record.Block, Active: true,
		Taken: h.taken, Kernel: h.status, pool: h.pool, names: h.names,
	})
}

// finish releases the snapshot. It replaces the result of a reading by ErrMoved if the
// snapshot was not held until the end.
func (h *held) finish(ctx context.Context, result error) error {
	ended := h.end(ctx)
	if errors.Is(ended, ErrMoved) {
		return ended // result may come from blocks that were overwritten
	}
	return errors.Join(result, ended)
}

// end releases the snapshot if it is still the one that was taken, and deletes its
// note.
func (h *held) end(ctx context.Context) error {
	if h == nil {
		return nil
	}
	clean, cancel := contexts.Cleanup(ctx)
	defer cancel()
	same, err := h.unchanged(clean)
	switch {
	case same:
		err = errors.Join(err, h.release(clean))
	case err == nil:
		err = errors.Join(h.moved(), h.pool.dropReading(clean))
	default: // the note stays: the next reading or activation releases the snapshot
	}
	return errors.Join(err, h.file.Close())
}

// unchanged reports whether the snapshot is still the one that was taken. If it returns
// an error, it has compared only the blocks at which they are held.
func (h *held) unchanged(ctx context.Context) (bool, error) {
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
		return fmt.Errorf("releasing the metadata snapshot at block %d, which the next reading or activation does: %w",
			h.status.HeldRoot, err)
	}
	return h.pool.dropReading(ctx)
}

// abandon releases a new snapshot that cannot be used. gone reports that another
// program has released it already.
func (h *held) abandon(ctx context.Context, gone bool) error {
	clean, cancel := contexts.Cleanup(ctx)
	defer cancel()
	var closed error
	if h.file != nil {
		closed = h.file.Close()
	}
	if gone {
		return errors.Join(h.pool.dropReading(clean), closed)
	}
	return errors.Join(h.release(clean), closed)
}

func (h *held) moved() error {
	return &Error{Op: "read the metadata of", Object: h.pool.object(), Kind: fault.Busy, Err: ErrMoved,
		Detail: fmt.Sprintf("it was held at block %d", h.status.HeldRoot),
		Remedy: "find the program that sends release_metadata_snap to the pool, and run this again"}
}

func (p *Pool) heldByOther(block uint64) error {
	return &Error{Op: "read the metadata of", Object: p.object(), Kind: fault.Busy, Err: ErrHeldByOther,
		Detail: fmt.Sprintf("a metadata snapshot is held at block %d, not by thinctl: by a backup, "+
			"or by thin_ls, thin_delta or thin_dump with --metadata-snap, or by one that was killed", block),
		Remedy: "wait until it is done", Cure: p.cureAt(CureReleaseSnapshot, string(poolDeviceName(p.name)))}
}
