// Package packaging tests the packages that make packages builds.
//
// Words: the old and the new package are the same commit with two versions; a guest
// is the lab's, with systemd; a reboot is a second guest with the first one's
// /scratch, which holds /var/lib/thinctl. The daemon's unit is strict when a system
// call that it does not allow kills the daemon.
//
// Caveats: the guest's own root is fresh at each boot. After the reboot the package
// is installed again, with its services held back; then all enabled units are started
// in one transaction, as a boot does. The first boot's unit is strict, because the
// test might miss a call that is refused; the second boot's is as it is packaged.
// There is no rpm distribution in the lab: Debian's rpm reads, unpacks and checks the
// rpm on the host.
//
//	tests/packaging/run
package packaging
