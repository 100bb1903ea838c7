// Package disk changes files and directories durably, and inspects block devices
// before a pool takes them.
//
// A device is busy if it is mounted, if another device mapper or md device uses it, or
// if a program has opened it with O_EXCL. [Contents] reads its first and last MiB, where
// file systems, partition tables, LVM, RAID and LUKS have their signatures. A device
// whose first and last MiB are not all zeroes holds data; known signatures are named.
//
// An [Identity] recognises a device under any name. [Host.Devices] reads the identities
// of all block devices from sysfs and udev's database. A [Handle] keeps a device open,
// so that the kernel does not give its number to another device.
//
//	found, err := disk.Contents("/dev/sdb")
//	if err == nil && found != "" {
//		return fmt.Errorf("/dev/sdb holds %s", found)
//	}
package disk
