// Package dmtest simulates the kernel's device mapper in memory, behind the interface of
// the real one. It also has the suite of tests that both pass.
//
// # Words
//
// A [Kernel] is the device mapper of one host. Its tables use disks ([Kernel.AddDisk]).
// A [Store] keeps the committed metadata of pools, so that they can be opened again: after
// [Kernel.PowerOff], from a copied metadata disk, or in a second Kernel. A stamp is a
// number that a test writes into a block ([Kernel.WriteStamp]) and reads later, to check
// that no data is lost. A fault is an error that a test injects into a call
// ([Options.Fault], [StopAt]). A violation is a call that loses data although the kernel
// accepts it ([Kernel.Violations]). A [Fixture] is a kernel, fake or real, with disks for
// [Contract].
//
// # Caveats
//
// The metadata disk has a real superblock and nothing else: programs that read the on-disk
// format need [Store.Contents] instead. The use of metadata is a model (see usedMeta).
//
// Time does not pass. There are no periodic commits, except after a shortage of space. A
// full pool queues until [Kernel.ExpireNoSpace]. A flakey target is always up or always
// down. IO that the kernel would queue returns [ErrWouldBlock]. A context that has ended
// fails every call, whereas the real kernel still carries out some.
//
// # Example
//
//	kernel := dmtest.New(dmtest.Options{})
//	data, metadata := blockdev.Number{Major: 7, Minor: 0}, blockdev.Number{Major: 7, Minor: 1}
//	kernel.AddDisk(data, dmtest.NewMemDisk(units.GiB))
//	kernel.AddDisk(metadata, dmtest.NewMemDisk(4*units.MiB))
//	// ... create a pool and a volume through the dm.Kernel interface
//	kernel.WriteStamp(volume, 3, 42)
//	kernel.PowerOff()
package dmtest
