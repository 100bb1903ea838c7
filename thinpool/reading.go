package thinpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Reading is a pool's metadata at one moment. It is valid during the call of the
// function that received it.
type Reading struct {
	// ReaderAt reads metadata blocks. Root is the place to start: the held root of an
	// active pool, otherwise the superblock.
	io.ReaderAt
	Root       metadata.Superblock
	DataBlocks uint64
	Block      units.Bytes // of a data block
	Active     bool
	Taken      time.Time
	// Kernel is the pool's status just after that moment, zero for an inactive pool.
	Kernel dm.PoolStatus

	pool  *Pool
	names known
	size  uint64 // of an inactive pool's metadata, in blocks
}

// ReadMetadata calls read with the pool's metadata. It reads an inactive pool from the
// disk, and an active pool through a metadata snapshot that the kernel holds for the
// duration of the call.
//
// A pool has one reading at a time. Others wait until ctx ends. An active pool may be
// used and changed in the meantime, an inactive pool may not. ReadMetadata rejects a
// pool that the kernel has turned read-only, that needs a check, that has failed, or
// whose metadata snapshot is held by another program.
//
// If another program releases the snapshot too early, the results of read are invalid,
// and ReadMetadata calls read a second time. So read must not publish its results
// before ReadMetadata returns nil. The error is ErrMoved if it happens twice.
func (p *Pool) ReadMetadata(ctx context.Context, read func(*Reading) error) error {
	return p.readMetadata(ctx, rooted(read))
}

// rooted returns read with a step before it, which reads the root of an inactive pool.
func rooted(read func(*Reading) error) func(*Reading) error {
	return func(r *Reading) error {
		if !r.Active {
			if err := r.findRoot(); err != nil {
				return err
			}
		}
		return read(r)
	}
}

func (p *Pool) readMetadata(ctx context.Context, read func(*Reading) error) error {
	const tries = 2
	var err error
	for range tries {
		if err = p.readOnce(ctx, read); !errors.Is(err, ErrMoved) {
			break
		}
	}
	return p.failed("read the metadata of", err)
}

func (p *Pool) readOnce(ctx context.Context, read func(*Reading) error) error {
	turn, err := p.lockReading(ctx)
	if err != nil {
		return err
	}
	defer turn.Release()
	lock, err := p.lock(ctx)
	if err != nil {
		return err
	}
	held, err := p.reserve(ctx)
	if errors.Is(err, ErrInactive) {
		defer lock.Release()
		return p.readOffline(ctx, read)
	}
	if err := errors.Join(err, lock.Release()); err != nil {
		return errors.Join(err, held.end(ctx))
	}
	return held.read(ctx, read)
}

// readLocked is readOnce for a caller that holds both locks.
func (p *Pool) readLocked(ctx context.Context, read func(*Reading) error) error {
	held, err := p.reserve(ctx)
	if errors.Is(err, ErrInactive) {
		return p.readOffline(ctx, read)
	}
	if err != nil {
		return p.failed("read the metadata of", err)
	}
	return p.failed("read the metadata of", held.read(ctx, read))
}

// readOffline reads the metadata of an inactive pool. The caller holds the pool's lock,
// so that the pool stays inactive.
func (p *Pool) readOffline(ctx context.Context, read func(*Reading) error) (err error) {
	names, err := p.records(ctx)
	if err != nil {
		return err
	}
	file, err := p.host.Disks.Metadata(p.backingPath(names.record.Metadata), true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return err
	}
	return read(&Reading{ReaderAt: file, Block: names.record.Block, Taken: p.host.now(), pool: p, names: names,
		size: uint64(size / metadataBlock)})
}

func (r *Reading) findRoot() error {
	root, err := metadata.ReadSuperblock(r)
	if err != nil {
		return &Error{Op: "read the metadata of", Object: r.pool.object(), Kind: fault.Unhealthy, Err: err,
			Cure: r.pool.cure(CureCheck)}
	}
	r.Root, r.DataBlocks = root, root.DataSpaceMap.Blocks
	return r.ours(root)
}

// ours returns an error if the metadata is another pool's.
func (r *Reading) ours(root metadata.Superblock) error {
	if root.UUID == r.pool.id {
		return nil
	}
	return &Error{Op: "read the metadata of", Object: r.pool.object(), Kind: ErrSwapped,
		Detail: fmt.Sprintf("it carries the uuid %x, this pool has %s", root.UUID, r.pool.id),
		Remedy: remedyOwnMetadata}
}

// Thin is a thin device with the name and size that the pool's database has for it.
type Thin struct {
	ID   uint32
	Name string // "" if the database has no volume of the id
	// Removed reports that the volume has been removed, and its blocks are not free yet.
	Removed bool
	Size    units.Bytes // virtual; 0 if not known
}

func (t Thin) String() string {
	switch {
	case t.Name == "":
		return fmt.Sprintf("device id %d", t.ID)
	case t.Removed:
		return fmt.Sprintf("%s (removed, device id %d)", t.Name, t.ID)
	}
	return t.Name
}

// Thin returns the thin device of an id, with its volume's name if there is one.
func (r *Reading) Thin(id uint32) Thin {
	if volume, ok := r.names.volumes[id]; ok && r.counts(volume) {
		return Thin{ID: id, Name: volume.Name, Size: volume.Size}
	}
	if tombstone, ok := r.names.tombstones[id]; ok {
		return Thin{ID: id, Name: tombstone.Name, Size: tombstone.Size, Removed: true}
	}
	return Thin{ID: id}
}

// Volume returns the device id of the volume of that name. The error is ErrNoVolume if
// there is none.
func (r *Reading) Volume(name string) (uint32, error) {
	for id, volume := range r.names.volumes {
		if volume.Name == name && r.counts(volume) {
			return id, nil
		}
	}
	return 0, r.pool.volumeError("read", name, ErrNoVolume, nil)
}

// counts reports whether the volume's change was finished at the moment of the reading.
func (r *Reading) counts(v store.Volume) bool { return v.Tx <= r.Root.TransactionID }
