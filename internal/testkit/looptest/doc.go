// Package looptest has loop devices in memory, for tests of what stands on
// them, and the contract that they and the kernel's keep alike.
//
// Kernel is the loop driver: it keeps the inodes, sizes and names of real files,
// but its devices have no node, no content and cannot be opened. It needs no
// privilege. Its callbacks tell an in-memory device mapper which block devices
// there are. Survival: attachments are the Kernel's, so that a test that throws
// away everything else has killed the process; Kill adds what the kernel does
// then to autoclear devices. PowerOff forgets all.
//
//	k := looptest.New(looptest.Hooks{OnAttach: dm.AddDisk, OnDetach: dm.RemoveDisk})
//	defer k.PowerOff()
//	pool := thinpool.New(thinpool.Options{Loops: k, ...})
package looptest
