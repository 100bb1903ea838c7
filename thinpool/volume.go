package thinpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Volume is the state of a thin volume, in database and kernel, at one moment.
type Volume struct {
	Name    string
	ID      uint32
	Size    units.Bytes // virtual
	Origin  string      // the name of its origin when the snapshot was taken, "" for none
	Created time.Time
	// For is the purpose that the volume is kept for, "" for a volume of the user.
	For string
	// ReadOnly volumes are never written again.
	ReadOnly bool

	Active    bool
	Suspended bool
	Open      int // openers of the device
	Dev       blockdev.Number
	Node      string // path of the device while active
}

// VolumeOptions describe a new volume.
type VolumeOptions struct {
	Size units.Bytes // the pool's base size if zero
	Keep
}

// Keep is the purpose of a new or renamed volume, and the documents that belong to it.
type Keep struct {
	// For is the purpose of a volume that a package above the pool keeps. A call that
	// removes or renames the volume must name the same purpose.
	For string
	// ReadOnly makes the volume's device read-only. Snapshots of it are writable unless
	// they have ReadOnly too.
	ReadOnly bool
	// With writes documents in the transaction of the change, and is undone with it. It
	// must not begin a transaction. It may be called more than once: only the last call
	// takes effect.
	With func(*Tx, VolumeRecord) error
}

const (
	minVolume = 64 * units.KiB
	// maxVolume is what xfs, the largest of the file systems used here, can take.
	maxVolume = 8 * units.PiB
)

func checkVolumeSize(size units.Bytes) error {
	switch {
	case size%units.SectorSize != 0:
		return fmt.Errorf(
			"volume size %d is not a multiple of 512 bytes: use %d",
			uint64(size),
			uint64(size.RoundUp(units.SectorSize)),
		)
	case size < minVolume, size > maxVolume:
		return fmt.Errorf("volume size %s must be from %s to %s", size, minVolume, maxVolume)
	}
	return nil
}

// CreateVolume makes an empty volume. It occupies no blocks until it is written to.
func (p *Pool) CreateVolume(ctx context.Context, name string, options VolumeOptions) (Volume, error) {
	if err := p.checkNewName("create", name); err != nil {
		return Volume{}, err
	}
	if options.Size != 0 {
		if err := checkVolumeSize(options.Size); err != nil {
			return Volume{}, p.volumeError("create", name, fault.Invalid, err)
		}
	}
	record, err := p.add(ctx, "create a volume in", func(tx *store.Tx, pool store.Pool) (addition, error) {
		if err := p.nameFree(tx, "create", name); err != nil {
			return addition{}, err
		}
		id, err := tx.AllocateID()
		return addition{
			volume: store.Volume{Name: name, ID: id, Size: cmp.Or(options.Size, pool.BaseSize), Created: p.host.now(),
				For: options.For, ReadOnly: options.ReadOnly},
			message: fmt.Sprintf("create_thin %d", id),
			with:    options.With,
		}, err
	})
	if err != nil {
		return Volume{}, p.volumeFailed("create", name, err)
	}
	return plainVolume(record), nil
}

// SnapshotOptions describe a new snapshot.
type SnapshotOptions struct {
	Size units.Bytes // the origin's if zero, else not smaller than that
	Keep
}

// Snapshot makes a volume that begins as a copy of origin and shares its blocks. An active
// writable origin is suspended in the meantime, with its file system frozen, so that the
// copy is consistent.
func (p *Pool) Snapshot(ctx context.Context, origin, name string, options SnapshotOptions) (Volume, error) {
	if err := p.checkNewName("snapshot", name); err != nil {
		return Volume{}, err
	}
	from, unlock, err := p.shareVolume(ctx, "snapshot", origin)
	if err != nil {
		return Volume{}, err
	}
	defer unlock()
	size := cmp.Or(options.Size, from.Size)
	if err := checkVolumeSize(size); err != nil {
		return Volume{}, p.volumeError("snapshot", name, fault.Invalid, err)
	}
	if size < from.Size {
		return Volume{}, p.volumeError("snapshot", name, fault.Invalid,
			fmt.Errorf("size %s is smaller than the origin's %s: a snapshot may only be larger", size, from.Size))
	}
	record, err := p.add(ctx, "take a snapshot in", func(tx *store.Tx, _ store.Pool) (addition, error) {
		if err := p.nameFree(tx, "snapshot", name); err != nil {
			return addition{}, err
		}
		id, err := tx.AllocateID()
		add := addition{
			volume: store.Volume{
				Name:     name,
				ID:       id,
				Size:     size,
				Origin:   from.Name,
				OriginID: from.ID,
				Created:  p.host.now(),
				For:      options.For,
				ReadOnly: options.ReadOnly,
			},
			message: fmt.Sprintf("create_snap %d %d", id, from.ID),
			with:    options.With,
		}
		if !from.ReadOnly { // a read-only origin needs no suspension: nothing writes to it
			add.origin = from.ID
		}
		return add, err
	})
	if err != nil {
		return Volume{}, p.volumeFailed("snapshot", name, err)
	}
	return plainVolume(record), nil
}

func (p *Pool) checkNewName(op, name string) error {
	if err := CheckVolumeName(name); err != nil {
		return err
	}
	if _, err := dm.NewName(string(volumeDeviceName(p.name, name))); err != nil {
		return p.volumeError(op, name, fault.Invalid, err)
	}
	return nil
}

func (p *Pool) nameFree(tx *store.Tx, op, name string) error {
	_, err := tx.Volume(name)
	switch {
	case errors.Is(err, fault.NotFound):
		return nil
	case err == nil:
		return p.volumeError(op, name, fault.Exists, nil)
	}
	return err
}

// findVolume returns a volume whose change is committed.
func (p *Pool) findVolume(ctx context.Context, op, name string) (store.Volume, error) {
	var volume store.Volume
	var last uint64
	missing := false
	err := p.db.View(ctx, func(tx *store.Tx) (err error) {
		volume, err = tx.Volume(name)
		if missing = errors.Is(err, fault.NotFound); missing {
			return nil
		}
		if err == nil {
			last, err = tx.LastTx()
		}
		return err
	})
	if err == nil && !missing && volume.Tx == last {
		// Only the newest change can be unfinished.
		var reached uint64
		reached, err = p.transactionID(ctx)
		missing = err == nil && volume.Tx > reached
	}
	if missing {
		return volume, p.volumeError(op, name, ErrNoVolume, nil)
	}
	return volume, p.volumeFailed(op, name, err)
}

func plainVolume(record store.Volume) Volume {
	return Volume{
		Name:     record.Name,
		ID:       record.ID,
		Size:     record.Size,
		Origin:   record.Origin,
		Created:  record.Created,
		For:      record.For,
		ReadOnly: record.ReadOnly,
	}
}

func (p *Pool) volumeObject(name string) string { return "volume " + p.name + "/" + name }

func (p *Pool) volumeError(op, name string, kind, err error) error {
	e := &Error{Op: op, Object: p.volumeObject(name), Kind: kind, Err: err}
	switch {
	case errors.Is(kind, ErrNoVolume):
		e.Cure = p.cure(CureListVolumes)
	case errors.Is(kind, fault.Exists):
		e.Remedy = "choose another name or remove it first"
	}
	return e
}

func (p *Pool) volumeFailed(op, name string, err error) error {
	var poolErr *Error
	if err == nil || errors.As(err, &poolErr) {
		return err
	}
	return &Error{Op: op, Object: p.volumeObject(name), Err: err}
}
