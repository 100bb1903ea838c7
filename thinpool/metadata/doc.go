// Package metadata reads and writes the metadata of dm-thin pools, in the on-disk
// format of the kernel's drivers/md/dm-thin-metadata.c. It reads the superblock
// ([ReadSuperblock]), the record of each thin device ([Devices]), the mappings of a
// device ([Runs]), the differences between two devices ([Delta]) and the owners of
// data blocks ([Scan]). It finds defects ([Check]) and builds sound metadata from
// the readable part of damaged metadata ([Repair]).
//
// # Terms
//
//   - A metadata block has 4096 bytes; block 0 is the superblock. Every block in use
//     has a checksum with a salt for its kind.
//   - The live superblock belongs to the kernel while the pool is active.
//   - A held root, or metadata snapshot, is a copy of the superblock. The pool makes
//     it on request (reserve_metadata_snap) and does not change it or the blocks that
//     it refers to, so that other programs can read it while the pool is active.
//   - The details are a btree with one record for each thin device.
//   - The mappings are a btree of btrees. The upper tree maps a device id to the root
//     of the device's own tree, which maps a virtual block to a data block and the
//     time of its first write. A snapshot begins as a second pointer to the same root.
//     Nodes are copied on write; the others stay shared.
//   - The uuid is a field of the superblock. The kernel writes zeros when it formats
//     the metadata and never changes the field again: it updates the superblock in
//     place (dm-thin-metadata.c, __commit_transaction) and copies it as a whole into
//     a held root. [WriteUUID] sets it to the identity of the pool.
//
// [Builder] writes new metadata with shared subtrees. [Dump] and [Restore] use the
// XML of thin_dump and thin_restore.
//
// # How a scan counts references
//
// [Scan] reads each node once, also if several devices share it: one generation
// after another from the roots down, and each generation in the order of its blocks.
// The nodes become a graph that counts the pointers to each node. For each data
// block the scan keeps the one leaf that maps it, or the number of mappings. The
// exclusive blocks of leaves are then summed up from the leaves to the roots, and
// the sum becomes 0 at a node with several parents. The sum at a device's root is
// the number of its exclusive blocks. The same graph answers which blocks become
// free when several devices are deleted ([Map.Freed]), which devices map a range
// ([Map.Owners]), and which device owns each block ([Map.Layout]). Together with
// the space maps it is the basis of [Check].
//
// A scan takes 64 bytes for each node, 4 for each pointer between nodes, and 4 for
// each data block in regions that have mapped blocks. For the largest metadata, of
// 16 GiB, the first two are about 420 MiB. If the data blocks need more memory than
// [ScanOptions].Memory, the leaves are read again for each part that fits.
//
// # Caveats
//
// Never read the trees of the live superblock while the pool is active. The kernel
// changes the blocks in the meantime, and the result is wrong or [ErrCorrupt].
// Reserve a metadata snapshot, take its block from the pool's status, and begin at
// [HeldRoot].
//
// Block devices are read with O_DIRECT. The kernel's dm-bufio does not use the page
// cache of the device, so cached pages may be stale.
//
// [OpenOffline], [WriteUUID] and [Copy] detect an active pool by the exclusive claim
// that the kernel has on the block device (EBUSY). A file behind a loop device has
// no such claim: open the loop device instead.
//
// thin_repair and thin_restore 0.9.0 write a superblock without the uuid: call
// [WriteUUID] after either.
//
// No content of the disk is trusted. A block is checked before it is used. No
// content causes a panic, an endless loop, or a use of memory that is not in
// proportion to the number of blocks that were read.
//
// # Example
//
// Print the number of exclusive blocks of each thin device of an inactive pool:
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
