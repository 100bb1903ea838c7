// Package looptest provides loop devices in memory, for tests of the packages that use
// them. Its Contract checks these devices and the kernel's loop devices.
//
// Kernel stands for the loop driver. It uses the inodes, sizes and names of real files,
// but its devices have no node and no content, and cannot be opened. It needs no
// privilege. Its hooks report the block devices to a device mapper in memory. A Kernel
// keeps its attachments until PowerOff, so a test kills the process by dropping every
// other object; Kill detaches the autoclear devices, as the kernel then does.
//
//	k := looptest.New(looptest.Hooks{OnAttach: dm.AddDisk, OnDetach: dm.RemoveDisk})
//	defer k.PowerOff()
//	pool := thinpool.New(thinpool.Options{Loops: k, ...})
package looptest
