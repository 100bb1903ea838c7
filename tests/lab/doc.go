// Package lab runs a command as root in a throw-away virtual machine that has
// a device mapper. The machine has a Debian kernel: 6.1, 6.12, Debian 11's 5.10 or
// sid's newest. Without Systemd it shows the host's own root, read-only over 9p
// below a tmpfs, so that paths, tools and test binaries are the same inside. With
// Systemd it has a whole Debian root with systemd and udev, and the host's root is
// at /host.
//
// Words:
//   - the scratch disk is an ext4 disk at /scratch in the guest. TMPDIR and
//     /var/lib/thinctl lie on it, because a tmpfs can hold no pool;
//   - a blank disk is /dev/disk/by-id/virtio-disk0, -disk1 and so on, in the order
//     given;
//   - a power-off kills QEMU. Data that the guest had not flushed to its disks are
//     lost; data that reached them are kept.
//
// Caveats: files that the command writes outside the disks are lost at the end, a
// -coverprofile too, and cost the guest memory. There is no network but lo. Where
// KVM does not work the processor is emulated, about ten times slower, so times
// compare only within one boot. A guest that dies, hangs or reports no exit status
// is an error, never a success.
//
//	result, err := lab.Run(ctx, lab.Config{
//		Kernel:     "6.12",
//		Command:    []string{"sh", "-c", "dmsetup targets; ls /dev/disk/by-id"},
//		Disks:      []lab.Disk{{Size: 20 << 30}},
//		PowerOffOn: "thin-pool",
//		Stdout:     os.Stdout,
//	})
//
// From the shell, and for go test:
//
//	tests/lab/run --kernel 6.12 --disk 20G -- dmsetup targets
//	go test -exec "$PWD/tests/lab/run --" ./dm
package lab
