// Package snapshotstest puts file systems on the volumes of thinpooltest's host in
// memory, so that tests can make, kill and inspect layers and containers without a
// real kernel.
//
// A mounted volume is a real directory. Its tree is saved as an immutable version, a
// copy beside the pools, whose number is written to the volume's first block as a
// stamp; changed files are stamped into blocks further on. So the kernel's own
// snapshots, kills and power cuts apply to the trees. As with a real file system,
// data that a sync, a freeze or an unmount has not saved are lost with the power, and
// data that were not flushed may be.
//
//	fixture := snapshotstest.New(t)
//	pool, err := thinpool.Create(ctx, fixture.Host(), fixture.Root, "p", options)
//	...
//	layers := snapshots.New(pool, fixture.Files, snapshots.Options{})
//	fixture.StopAt(7, thinpooltest.After)
package snapshotstest
