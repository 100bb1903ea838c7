// Package dmtest plays the kernel's device mapper in memory, behind the
// interface that the real one has, and holds the suite that both pass.
//
// # Words
//
// A [Kernel] is one host's device mapper. Disks stand under it ([Kernel.AddDisk]);
// a [Store] keeps what its pools have committed, so that [Kernel.PowerOff], a
// copied metadata disk or a second Kernel find it again. A stamp is a number
// written into a block ([Kernel.WriteStamp]) to prove later that nothing was
// lost. A fault is an error on demand at any call ([Options.Fault], [StopAt]).
// A violation is what the kernel lets pass but loses data ([Kernel.Violations]).
// A [Rig] is a kernel, fake or real, with disks to test on ([Contract]).
//
// # Caveats
//
// The metadata disk holds a true superblock and nothing else: readers of the
// on-disk format need another source ([Store.Contents]). Metadata use is a model (see usedMeta).
// Time does not pass: nothing is committed by the kernel's one-second timer
// except after a shortage of space, a full pool queues until
// [Kernel.ExpireNoSpace], and flakey targets are always up or always down. IO
// that the kernel would queue returns [ErrWouldBlock] instead. A context that
// has ended fails every call, where the real control node would still do some.
//
// # Example
//
//	kernel := dmtest.New(dmtest.Options{})
//	data, metadata := blockdev.Number{Major: 7, Minor: 0}, blockdev.Number{Major: 7, Minor: 1}
//	kernel.AddDisk(data, dmtest.NewMemDisk(units.GiB))
//	kernel.AddDisk(metadata, dmtest.NewMemDisk(4*units.MiB))
//	// ... make a pool and a volume through the dm.Kernel interface
//	kernel.WriteStamp(volume, 3, 42)
//	kernel.PowerOff()
package dmtest
