// Package snapshotstest puts file systems on the volumes of thinpooltest's host
// in memory, so that layers and containers can be made, killed and looked at
// without a real kernel.
//
// A mounted volume is a real folder. Its tree is saved as an immutable version,
// a copy beside the pools, whose number is written into the volume's first block
// as a stamp; files that changed are stamped into blocks further on. So the
// kernel's own snapshots, kills and power cuts carry the trees. As with a real
// file system, what was not saved by a sync, a freeze or an unmount is lost with
// the power, and what was not flushed may be.
//
//	world := snapshotstest.New(t)
//	pool, err := thinpool.Create(ctx, world.Host(), world.Root, "p", options)
//	...
//	layers := snapshots.New(pool, world.Files, snapshots.Options{})
//	world.StopAt(7, thinpooltest.After)
package snapshotstest
