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

// errMoment: database and metadata are of different moments.
var errMoment = errors.New("one of them was restored from a copy, or another program drives the pool")

// moment is what database and metadata must have in common.
type moment struct {
	transaction    uint64
	data, metadata units.Bytes
}

// differs returns how the database differs from the metadata, in words; "" where
// it does not. A database that is one transaction ahead has a change that was cut
// off if its note says so. Sizes in the database may be larger: an extension that
// was cut off. The metadata may be larger: the kernel uses all of its device or file
// (drivers/md/dm-thin.c, maybe_resize_metadata_dev), which grows before the database
// has the new size.
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

// offlineMoment is that of the metadata of an inactive pool.
func offlineMoment(super metadata.Superblock) moment {
	return moment{super.TransactionID, times(super.DataSpaceMap.Blocks, super.DataBlockSize.Bytes()),
		times(super.MetadataSpaceMap.Blocks, metadataBlock)}
}

func times(n uint64, unit units.Bytes) units.Bytes { return units.Bytes(n) * unit }

// moment is that of the metadata that is read.
func (r *Reading) moment() moment {
	if r.Active {
		return moment{r.Kernel.TransactionID, times(r.Kernel.TotalData, r.Block), times(r.Kernel.TotalMetadata, metadataBlock)}
	}
	return offlineMoment(r.Root)
}

// agreement is what makes the database agree with the metadata.
type agreement struct {
	differs string         // "" where both are of one moment
	from    known          // the database
	to      moment         // the metadata
	found   []store.Volume // thin devices that the database does not have; names may be taken
	lost    []store.Volume // volumes that have no thin device
	undated []store.Volume // volumes that are there, and would count only later
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
		case later && a.differs == "": // being made, and undone by the next activation
		case !ok, later && device.TransactionID+1 != volume.Tx: // a device of that id is another volume's
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

// activeThin is what the kernel has of a thin device.
type activeThin struct {
	name string
	size units.Bytes
}

// activeThins returns the pool's thin devices that the kernel has.
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
			continue // gone since
		}
		one := activeThin{}
		name, ok := strings.CutPrefix(string(entry.Name), string(volumeDeviceName(p.name, "")))
		// A device with a node of its own is of a package above, to which its name means
		// something only along with a document.
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

// recovered is a volume's record for a thin device that the database does not
// have. The pool keeps neither name nor size: an active device has both, otherwise
// the file system's superblock has the size. Without one everything mapped must be
// within the size.
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

// agree writes an agreement, or only lists what it would do.
func (p *Pool) agree(ctx context.Context, a agreement, dry bool, repair *Repair) error {
	if a.differs != "" {
		repair.Actions = append(repair.Actions, fmt.Sprintf("bring the database from transaction %d to the metadata's, %d", a.from.last, a.to.transaction))
		if a.from.last > a.to.transaction {
			repair.Warnings = append(repair.Warnings, p.olderMetadata())
		}
	}
	for _, volume := range a.lost {
		repair.Actions = append(repair.Actions, fmt.Sprintf("drop %s: the metadata has no device id %d", p.volumeObject(volume.Name), volume.ID))
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
		repair.Actions = append(repair.Actions, fmt.Sprintf("make device id %d the volume %s of %s", volume.ID, volume.Name, volume.Size))
	}
	return nil
}

// errDry ends a transaction that is only to be tried.
var errDry = errors.New("a dry run")

// write is agree's transaction. It returns the new volumes under their names.
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

// freeName gives a recovered volume a name that no other has.
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
