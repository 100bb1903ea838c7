// Package thinpool makes and drives thin pools and their volumes: create,
// snapshot, activate, resize, remove, extend, check, repair, destroy; and says
// which physical block belongs to whom.
//
// # Words
//
// A pool is a folder with a database, and data and metadata in sparse files of
// that folder or on block devices. A volume is a thin device of the pool; a
// snapshot is a volume that begins as another's copy and shares its blocks. A
// pool or volume is active while the kernel has a device for it. A tombstone is
// a removed volume whose blocks were not given back yet.
//
// # How a change is made safe
//
// The kernel pool's transaction id is the commit record:
//
//	database  --- record with Tx = N+1 ---------------------------------->
//	kernel    ----------- message ------- set_transaction_id N N+1 ------>
//	counts?      no         no                       yes
//
// A record counts once the pool's id has reached its Tx. Documents, which packages
// above keep in the same database, are written with a change and count with it.
// Callers of one Pool who come at the same moment share a transaction: the records
// and documents of all in one commit of the database, a message for each, one id.
// Whoever comes next and finds the database one ahead of the pool undoes that
// change: it deletes the thin devices, which nobody was told of, and their records.
// A removal is the other way round: from its tombstone on it is done, and giving the
// blocks back is repeated until it has worked. An extension notes the new sizes, then
// brings files, loop devices and the kernel's table there, as often as it takes.
// Rebuilt metadata goes into a damaged file's place by rename; onto a damaged
// device it is written, once a whole copy of that is kept, from a verified file
// whose name metadata.restoring commits it: until that name is gone again, the
// pool is not activated, and the next repair writes the device anew.
//
// # How disks are recognised
//
// The path of a device is where it was last seen. The record has what sysfs and
// udev offer to recognise each device by (package disk), and an activation, an
// extension and a repair find the device by that. Behind the data, outside of what
// the pool's table maps, lies a mark with the pool's uuid and a generation, in two
// blocks that are written in turn:
//
//	mark      --- generation N+1 --------------------->
//	database  ------------------- generation N+1 ----->
//	device    ----------------------------------- table
//
// An activation accepts the database's generation or one more, which a kill
// between the first two steps leaves. A lower one is data that was restored from an
// older copy, a higher one is an older database. An extension writes a mark at the
// new end before the database has the new size, so that there is one behind every
// size that the database ever had.
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
// mapping from the disk below. While a device is checked it is held open, so that
// its number stays its own until the kernel's table has it.
//
// # How a lost database is restored
//
// The metadata has neither names nor sizes. A process that has changed the database
// copies it, compressed and with a checksum, to state.db.gz when it closes the pool,
// and the daemon once a minute. [RepairAt] restores a database that is gone or
// damaged from the copy, otherwise from the metadata's superblock and what lies in
// the pool's directory; it is made beside the old one and renamed into its place.
// A database of another moment than the metadata is then made to agree with it in
// one transaction: thin devices that it does not have become volumes, volumes
// without a thin device are dropped and reported, and documents that have lost
// their volume are dropped by the packages that wrote them.
//
// # How the metadata is read
//
// Who maps which block stands in the pool's metadata only. [Pool.ReadMetadata]
// gives it as it was at one moment: of an active pool through a metadata snapshot
// that the kernel holds meanwhile, while the pool goes on working. The kernel
// holds one for a pool and does not say whose; a note in the database tells
// thinctl's own, so that what a killed reading left is released by the next
// reading, activation or recovery, and another program's never. [Pool.Usage],
// [Pool.DataMap], [Pool.Owners], [Pool.VolumeMap], [Pool.VolumeDelta] and
// [Pool.Check] read so.
//
// # Caveats
//
// Mapped is not owned: a volume's mapped bytes include what it shares. The
// pool does not store a volume's size; the database does. Locks are per pool
// for the short part of a change, and per volume for the rest.
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
