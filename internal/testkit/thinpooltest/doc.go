// Package thinpooltest puts pools on a host in memory: dmtest's kernel and
// looptest's loop devices over real files, and stops their process at any step.
//
//	world := thinpooltest.New(t)
//	pool, err := thinpool.Create(ctx, world.Host(), world.Root, "p", options)
//	...
//	world.StopAt(7, thinpooltest.After)
//	_, err = pool.Snapshot(ctx, "base", "copy", thinpool.SnapshotOptions{})
//	world.Restart() // or world.PowerOff()
//
// A step is a call that the pool makes to kernel, loops or disks, or a
// transaction of its database. From the step where it is stopped on, every call
// fails: to the code under test the process is dead, and what its clean-up
// tries then does not happen.
package thinpooltest
