// Package disk does what a pool needs of folders and block devices: changes
// that are on disk when they return, and looks that find what a new owner
// would destroy.
//
// A device is busy when something has claimed it: a mount, another device
// mapper or md device, or a program that opened it with O_EXCL. Its contents
// are judged by the first and last MiB, where file systems, partition tables,
// LVM, RAID and LUKS all keep their marks; anything but zeroes counts, known
// marks are named.
//
// A device is recognised by its [Identity], which [Host.Devices] reads from sysfs
// and udev's database for all block devices. A [Handle] keeps a device open, and
// with that its number from being given to another.
//
//	found, err := disk.Contents("/dev/sdb")
//	if err == nil && found != "" {
//		return fmt.Errorf("/dev/sdb holds %s", found)
//	}
package disk
