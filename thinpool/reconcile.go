package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thinctl/fault"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// errMoment reports that database and metadata are of different moments.
var errMoment = errors.New("one of them was restored from a copy, or another program drives the pool")

// moment holds the values that must be the same in database and metadata.
type moment struct {
	transaction    uint64
	data, metadata units.Bytes
}

// differs describes how the database differs from the metadata, or returns "". Some
// differences are allowed. A killed change leaves the database one transaction ahead,
// with a note of that change. A killed extension leaves larger sizes in the database.
// The size of the metadata may be larger than in the database: the kernel uses the
// whole device or file (drivers/md/dm-thin.c, maybe_resize_metadata_dev), which grows
// before the database has the new size.
func (k known) differs(reached moment) string {
	ahead := k.last == reached.transaction+1 && k.pending.Tx == k.last
	switch {
	case k.last != reached.transaction && !ahead:
		return fmt.Sprintf("the metadata is at transaction %d, the database at %d", reached.transaction, k.last)
	case k.record.Data.Size < reached.data:
		return fmt.Sprintf("the metadata has %s of data, the database %s", reached.data, k.record.Data.Size)
	}
	return ""
}

// offlineMoment returns the moment of an inactive pool's metadata.
func offlineMoment(super metadata.Superblock) moment {
	return moment{super.TransactionID, times(super.DataSpaceMap.Blocks, super.DataBlockSize.Bytes()),
		times(super.MetadataSpaceMap.Blocks, metadataBlock)}
}

func times(n uint64, unit units.Bytes) units.Bytes { return units.Bytes(n) * unit }

// moment returns the moment of the metadata that is read.
func (r *Reading) moment() moment {
	if r.Active {
		return moment{
			r.Kernel.TransactionID,
			times(r.Kernel.TotalData, r.Block),
			times(r.Kernel.TotalMetadata, metadataBlock),
		}
	}
	return offlineMoment(r.Root)
}

// agreement holds the changes that make the database agree with the metadata.
type agreement struct {
	differs string         // "" if both are of one moment
	from    known          // the database
	to      moment         // the metadata
	found   []store.Volume // thin devices that the database does not have; names may be taken
	lost    []store.Volume // volumes that have no thin device
	undated []store.Volume // volumes with a thin device, whose transaction id is too high
}

// reconcile makes the database agree with the metadata, in one transaction: each
// thin device that it does not have becomes a volume, each volume that has no thin
// device is dropped, and transaction id and sizes become the metadata's. A copy of
// the database as it was is kept if anything is dropped or the two are of
// different moments.
func (p *Pool) reconcile(ctx context.Context, dry bool, repair *Repair) error {
	return p.readLocked(ctx, func(r *Reading) error {
		return rooted(func(r *Reading) error {
			a, err := r.agreement(ctx)
			if err != nil {
				return err
			}
			if !dry && (a.differs != "" || len(a.lost) > 0) {
				if repair.Database, err = p.keepDatabase(ctx); err != nil {
					return err
				}
			}
			return p.agree(ctx, a, dry, repair)
		})(r)
	})
}

// agreement compares the database with the metadata that is read.
func (r *Reading) agreement(ctx context.Context) (agreement, error) {
	a := agreement{from: r.names, to: r.moment()}
	a.differs = a.from.differs(a.to)
	devices, err := metadata.Devices(r, r.Root)
	if err != nil {
		return a, err
	}
	there := make(map[uint32]metadata.Device, len(devices))
	for _, device := range devices {
		there[device.ID] = device
	}
	for id, volume := range a.from.volumes {
		device, ok := there[id]
		later := volume.Tx > a.to.transaction
		switch {
		case later && a.differs == "": // a killed change, which the next activation undoes
		case !ok, later && device.TransactionID+1 != volume.Tx: // the device of that id belongs to another volume
			a.lost = append(a.lost, volume)
			delete(a.from.volumes, id)
		case later:
			a.undated = append(a.undated, volume)
		}
	}
	slices.SortFunc(a.lost, func(a, b store.Volume) int { return int(a.ID) - int(b.ID) })
	active, err := r.pool.activeThins(ctx)
	if err != nil {
		return a, err
	}
	for _, device := range devices {
		_, volume := a.from.volumes[device.ID]
		_, tombstone := a.from.tombstones[device.ID]
		if volume || tombstone {
			continue
		}
		one, err := r.recovered(ctx, device, active[device.ID])
		if err != nil {
			return a, err
		}
		a.found = append(a.found, one)
	}
	return a, nil
}

// activeThin holds the name and size that the kernel has for a thin device.
type activeThin struct {
	name string
	size units.Bytes
}

// activeThins returns the pool's active thin devices by id.
func (p *Pool) activeThins(ctx context.Context) (map[uint32]activeThin, error) {
	own, err := p.ownDevices(ctx)
	if err != nil {
		return nil, err
	}
	thins := map[uint32]activeThin{}
	for _, entry := range own {
		if entry.isPool {
			continue
		}
		info, err := p.host.Kernel.Info(ctx, p.volumeRef(entry.id))
		if err != nil {
			continue // removed in the meantime
		}
		one := activeThin{}
		name, ok := strings.CutPrefix(string(entry.Name), string(volumeDeviceName(p.name, "")))
		// A device with a node of its own belongs to a package above the pool. That package
		// needs a document with the name, which is lost, so the name is not used.
		if ok && CheckVolumeName(name) == nil && !p.host.Kernel.HasOwnNode(ctx, info) {
			one.name = name
		}
		if lines, err := p.host.Kernel.Table(ctx, p.volumeRef(entry.id)); err == nil && len(lines) == 1 {
			one.size = lines[0].Length.Bytes()
		}
		thins[entry.id] = one
	}
	return thins, nil
}

// recovered makes a volume's record for a thin device that is not in the database. The
// metadata has neither its name nor its size. An active device has both; otherwise the
// superblock of its file system has the size. Without a file system the volume gets the
// base size. In each case the size includes all mapped blocks.
func (r *Reading) recovered(ctx context.Context, device metadata.Device, active activeThin) (store.Volume, error) {
	volume := store.Volume{Name: active.name, ID: device.ID, Size: active.size, Created: r.pool.host.now(),
		Tx: min(device.TransactionID+1, r.moment().transaction)}
	if volume.Name == "" {
		volume.Name = adoptedName(device.ID)
	}
	if volume.Size != 0 {
		return volume, nil
	}
	var end, first uint64
	begins := false
	err := metadata.Runs(ctx, r, r.Root, device.ID, func(run metadata.Run) error {
		if run.Virtual == 0 {
			first, begins = run.Data, true
		}
		end = run.Virtual + run.Blocks
		return nil
	})
	if err != nil {
		return volume, err
	}
	if begins {
		path := r.pool.backingPath(r.names.record.Data)
		if volume.Size, err = r.pool.host.Disks.FileSystemSize(path, times(first, r.Block)); err != nil {
			return volume, err
		}
	}
	if checkVolumeSize(volume.Size) != nil {
		volume.Size = r.names.record.BaseSize
	}
	volume.Size = max(volume.Size, times(end, r.Block))
	return volume, nil
}

// agree writes an agreement to the database and lists its actions. If dry is true, it
// only lists them.
func (p *Pool) agree(ctx context.Context, a agreement, dry bool, repair *Repair) error {
	if a.differs != "" {
		repair.Actions = append(repair.Actions,
			fmt.Sprintf("bring the database from transaction %d to the metadata's, %d",
				a.from.last, a.to.transaction))
		if a.from.last > a.to.transaction {
			repair.Warnings = append(repair.Warnings, warnOlder)
		}
	}
	for _, volume := range a.lost {
		repair.Actions = append(repair.Actions, fmt.Sprintf("drop %s: the metadata has no device id %d",
			p.volumeObject(volume.Name), volume.ID))
		repair.Lost = append(repair.Lost, LostVolume{Volume: volume.Name, Gone: true})
	}
	var found []store.Volume
	err := p.db.Update(ctx, func(tx *store.Tx) (err error) {
		if found, err = p.write(tx, a); err == nil && dry {
			err = errDry
		}
		return err
	})
	if err != nil && !errors.Is(err, errDry) {
		return err
	}
	for _, volume := range found {
		repair.Actions = append(repair.Actions, fmt.Sprintf("make device id %d the volume %s of %s",
			volume.ID, volume.Name, volume.Size))
	}
	return nil
}

// errDry ends the transaction of a dry run without a commit.
var errDry = errors.New("a dry run")

// write writes an agreement in a transaction. It returns the new volumes with the names
// that they got.
func (p *Pool) write(tx *store.Tx, a agreement) ([]store.Volume, error) {
	for _, volume := range a.lost {
		if err := tx.DeleteVolume(volume); err != nil {
			return nil, err
		}
	}
	for _, volume := range a.undated {
		volume.Tx = a.to.transaction
		if err := tx.PutVolume(volume); err != nil {
			return nil, err
		}
	}
	found := slices.Clone(a.found)
	for i := range found {
		if err := freeName(tx, &found[i]); err != nil {
			return nil, err
		}
		if err := tx.PutVolume(found[i]); err != nil {
			return nil, err
		}
	}
	if a.differs == "" {
		return found, nil
	}
	record := a.from.record
	record.Data.Size, record.Metadata.Size = max(record.Data.Size, a.to.data), max(record.Metadata.Size, a.to.metadata)
	if err := tx.PutPool(record); err != nil {
		return nil, err
	}
	return found, tx.Forget(a.to.transaction)
}

// freeName gives a recovered volume an unused name.
func freeName(tx *store.Tx, volume *store.Volume) error {
	name := volume.Name
	for n := 1; ; n++ {
		_, err := tx.Volume(name)
		if errors.Is(err, fault.NotFound) {
			volume.Name = name
			return nil
		}
		if err != nil {
			return err
		}
		name = adoptedName(volume.ID)
		if n > 1 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
	}
}
