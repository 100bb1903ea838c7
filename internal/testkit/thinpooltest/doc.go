// Package thinpooltest puts pools on a host in memory: dmtest's kernel and
// looptest's loop devices over real files, and stops their process at any step.
//
//	fixture := thinpooltest.New(t)
//	pool, err := thinpool.Create(ctx, fixture.Host(), fixture.Root, "p", options)
//	...
//	fixture.StopAt(7, thinpooltest.After)
//	_, err = pool.Snapshot(ctx, "base", "copy", thinpool.SnapshotOptions{})
//	fixture.Restart() // or fixture.PowerOff()
//
// A step is a call that the pool makes to kernel, loops or disks, or a transaction
// of its database. From the step at which the process is stopped on, every call
// fails: the code under test behaves as in a dead process, and its clean-up has no
// effect.
package thinpooltest
