// Package metadata reads the metadata of a dm-thin pool, as the kernel's
// drivers/md/dm-thin-metadata.c lays it out on disk: the superblock, what it says
// of each thin device ([Devices]), what a device maps ([Runs]), how two differ
// ([Delta]), and who has which data block ([Scan]). It finds what is wrong
// ([Check]) and makes sound metadata of what can still be read ([Repair]).
//
// # Words
//
//   - A metadata block is 4096 bytes, always; block 0 is the superblock. Every
//     block that is in use carries a checksum whose salt tells its kind.
//   - The live superblock belongs to the kernel while the pool is active.
//   - A held root, or metadata snapshot, is a copy of the superblock that the
//     pool keeps unchanged on request (reserve_metadata_snap), so that others
//     may read while it runs.
//   - The details are a btree: one record for each thin device.
//   - The mappings are a btree of btrees: device id to the root of the device's
//     own tree, virtual block to data block and the time it was written at. A
//     snapshot begins as a second pointer to the same root; nodes are copied on
//     write, and those that were not stay shared.
//   - The uuid is a field of the superblock that the kernel writes as zeros at
//     format and leaves alone ever after: it updates the superblock in place
//     (dm-thin-metadata.c, __commit_transaction) and copies it whole into a held
//     root. [WriteUUID] puts a pool's identity there.
//
// [Builder] writes new metadata, subtrees shared, for [Restore] and all others
// that need some; [Dump] and [Restore] speak the XML of thin_dump and
// thin_restore.
//
// # How a scan knows who has what
//
// [Scan] reads each node once, however many devices share it, generation by
// generation from the roots and each generation in the order of its blocks. The
// nodes become a graph that counts the pointers to each of them; each data block
// keeps the one leaf that maps it, or how many mappings do. Going up the graph,
// the blocks that only one leaf has are summed until a node has two parents:
// what is left at a device's root is the device's alone. The same graph answers
// what comes back when several devices go ([Map.Freed]), who maps a range
// ([Map.Owners]) and what lies where ([Map.Layout]); with both space maps beside
// it, it is the check.
//
// It takes 64 bytes for each node, 4 for each pointer, and 4 for each data block
// near one that is mapped: about 420 MiB and the last for the largest metadata,
// 16 GiB. Where the last exceeds [ScanOptions].Memory, the leaves are read again
// for each part that fits.
//
// # Caveats
//
// Never walk the live superblock's trees of an active pool: its blocks are
// rewritten underfoot, and what comes out is wrong or [ErrCorrupt]. Reserve a
// metadata snapshot, take its block from the pool's status, and start at
// [HeldRoot].
//
// Block devices are read with O_DIRECT: the kernel's dm-bufio goes past the
// device's page cache, so buffered pages may be stale.
//
// [OpenOffline], [WriteUUID] and [Copy] know a live pool by the kernel's exclusive claim on
// the block device (EBUSY). The claim is not on a file behind a loop device:
// open the loop device first.
//
// thin_repair and thin_restore (0.9.0) write a superblock without the uuid:
// stamp again after either.
//
// What is on disk is never trusted: a block is checked before it is used, and
// no content makes a function panic, loop, or hold more memory than the blocks
// it has read account for.
//
// # Example
//
// What each thin device of an inactive pool has to itself:
//
//	f, err := metadata.OpenOffline("/dev/mapper/thinctl-p1-metadata")
//	if err != nil {
//		return err
//	}
//	defer f.Close()
//	root, err := metadata.ReadSuperblock(f)
//	if err != nil {
//		return err
//	}
//	m, err := metadata.Scan(ctx, f, root, metadata.ScanOptions{})
//	if err != nil {
//		return err
//	}
//	for _, d := range m.Usage().Devices {
//		fmt.Println(d.ID, d.Exclusive)
//	}
package metadata
