// Package thinpool creates and manages thin pools and their volumes: create,
// snapshot, activate, resize, remove, extend, check, repair, destroy. It also reports
// which volume owns each data block.
//
// # Words
//
// A pool is a directory with a database. Its data and metadata are sparse files in that
// directory, or block devices. A volume is a thin device of the pool. A snapshot is a
// volume that begins as a copy of its origin and shares its blocks. A pool or volume is
// active while the kernel has a device for it. A tombstone is a removed volume whose
// blocks are not free yet. A batch is a set of concurrent changes that share one
// transaction.
//
// # How a change survives a crash
//
// The kernel pool's transaction id is the commit record:
//
//	database  --- record with Tx = N+1 ---------------------------------->
//	kernel    ----------- message ------- set_transaction_id N N+1 ------>
//	committed    no         no                       yes
//
// A record is committed when the pool's transaction id reaches its Tx. Packages above
// keep documents in the same database; they are written with a change and committed with
// it. A batch writes the records and documents of all its changes in one commit of the
// database, then one message for each new device, then one transaction id. If a process
// is killed in between, the database is one transaction ahead of the kernel. The next
// change undoes that: it deletes the new thin devices and their records. No caller has
// used them, because the call that creates them has not returned.
//
// A removal commits the tombstone first. Freeing the blocks is repeated until it
// succeeds. An extension commits the new sizes, then brings files, loop devices and the
// kernel's table to these sizes; recovery repeats it. Rebuilt metadata replaces a damaged
// file by rename. Before a damaged device is overwritten, a whole copy of it is kept, and
// the rebuilt metadata is verified in a file. The name metadata.restoring of that file
// commits the repair: while it exists, the pool is not activated, and the next repair
// writes the device again.
//
// # How disks are recognised
//
// The recorded path of a device is the one at its last use. The record also has the
// identity from sysfs and udev (package disk). An activation, an extension and a repair
// find the device by that identity. Behind the data, outside of the range that the pool's
// table maps, is a mark with the pool's uuid and a generation, in two blocks that are
// written in turn:
//
//	mark      --- generation N+1 --------------------->
//	database  ------------------- generation N+1 ----->
//	device    ----------------------------------- table
//
// An activation accepts the generation of the database or the next one, which a kill
// between the first two steps leaves. A lower generation means that the data was restored
// from an older copy; a higher one means an older database. An extension writes a mark at
// the new end before the database has the new size. So there is a mark behind each size
// that the database has had.
//
// Every data disk has a mark, also one with an identity: the identity shows which
// disk it is and the mark shows what is on it, and only both together detect a
// copy, a restored file and a wiped disk. The mark follows the data and not the end
// of the device, so that it stays in place when the device grows. Metadata needs no
// mark: its superblock has the uuid and the transaction id, and the kernel uses the
// whole device.
//
// A device without an identity is found by its mark or superblock, among devices of
// its kind: contents alone do not distinguish a mirror from its legs, or a linear
// mapping from the disk below. A device is held open while it is checked, so that
// its number is not reused before the kernel's table has it.
//
// # How a lost database is restored
//
// The metadata has neither names nor sizes. A process that has changed the database
// copies it, compressed and with a checksum, to state.db.gz when it closes the pool,
// and the daemon once a minute. [RepairAt] restores a database that is gone or
// damaged from the copy, otherwise from the superblock of the metadata and the contents of
// the pool's directory. The new database is made beside the old one and replaces it by
// rename. If the database is of another moment than the metadata, one transaction makes it
// agree: thin devices without a record become volumes, volumes without a thin device are
// dropped and reported, and the packages that wrote documents drop those without a volume.
//
// # How the metadata is read
//
// Only the pool's metadata has the mapping of blocks to thin devices. [Pool.ReadMetadata]
// reads it as it was at one moment: from an active pool through a metadata snapshot, while
// the pool stays in use. The kernel holds at most one metadata snapshot for a pool, and
// does not record its owner. A note in the database marks this package's own. So the next
// reading, activation or recovery releases the snapshot of a killed reading, and never
// that of another program. [Pool.Usage], [Pool.DataMap], [Pool.Owners], [Pool.VolumeMap],
// [Pool.VolumeDelta] and [Pool.Check] use it.
//
// # Caveats
//
// The mapped bytes of a volume include its shared blocks. The kernel does not store the
// size of a volume; the database does. A change holds the pool's lock for its short part
// only, and the volume's lock for the rest.
//
// # Example
//
//	pool, err := thinpool.Create(ctx, host, thinpool.Root, "vault", thinpool.CreateOptions{})
//	if err != nil {
//		return err
//	}
//	if _, err := pool.CreateVolume(ctx, "base", thinpool.VolumeOptions{}); err != nil {
//		return err
//	}
//	if _, err := pool.Snapshot(ctx, "base", "web", thinpool.SnapshotOptions{}); err != nil {
//		return err
//	}
//	volume, err := pool.ActivateVolume(ctx, "web")
//	// volume.Node is the block device.
package thinpool
