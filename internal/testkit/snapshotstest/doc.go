// Package snapshotstest puts file systems on the volumes of thinpooltest's host in
// memory, so that tests can make, kill and inspect layers and containers without a
// real kernel.
//
// A mounted volume is a real directory. A version is an immutable copy of its tree, in the
// directory of the pools. The version's number is written as a stamp to the volume's first
// block, and the changed files are stamped into later blocks. So the kernel's snapshots,
// kills and power cuts apply to the trees. As with a real file system, a power cut loses
// data that no sync, freeze or unmount has saved. It may also lose data that were not
// flushed.
//
//	fixture := snapshotstest.New(t)
//	pool, err := thinpool.Create(ctx, fixture.Host(), fixture.Root, "p", options)
//	...
//	layers := snapshots.New(pool, fixture.Files, snapshots.Options{})
//	fixture.StopAt(7, thinpooltest.After)
package snapshotstest
