// Package lab runs a command as root in a throw-away virtual machine that has
// a device mapper. The machine has a Debian kernel (6.1, 6.12, Debian 11's 5.10 or sid's newest) and shows the
// host's own root, read-only over 9p with a tmpfs laid on top, so that paths,
// tools and test binaries are the same inside; with Systemd it has a whole
// Debian root of its own with systemd and udev, and the host's is at /host.
//
// Words: the scratch disk is an ext4 disk at /scratch in the guest, where
// TMPDIR and /var/lib/thinctl lie, since tmpfs can hold no pool; a blank disk
// is /dev/disk/by-id/virtio-disk0, -disk1 and so on in the order given; a
// power-off is QEMU killed, which loses what the guest had not flushed to its
// disks and keeps what reached them.
//
// Caveats: what the command writes outside the disks is gone at the end, a
// -coverprofile too, and costs the guest memory; there is no network but lo;
// where KVM does not work the processor is emulated, about ten times slower,
// so times compare only within one boot. A guest that dies, hangs or reports
// no exit status is an error, never a success.
//
//	result, err := lab.Run(ctx, lab.Config{
//		Kernel:     "6.12",
//		Command:    []string{"sh", "-c", "dmsetup targets; ls /dev/disk/by-id"},
//		Disks:      []lab.Disk{{Size: 20 << 30}},
//		PowerOffOn: "thin-pool",
//		Stdout:     os.Stdout,
//	})
//
// From the shell, and as the seam of go test:
//
//	tests/lab/run --kernel 6.12 --disk 20G -- dmsetup targets
//	go test -exec "$PWD/tests/lab/run --" ./dm
package lab
