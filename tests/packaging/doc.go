// Package packaging tests the packages that make packages builds.
//
// Words: the old and the new package are the same commit with two versions; a
// guest is the lab's, with systemd; a reboot is a second guest that finds the
// first one's /scratch, where /var/lib/thinctl is.
//
// Caveats: the guest's own root is fresh at each boot, so that after the reboot
// the package is installed anew, with its services held back, and then all that
// is enabled is started in one transaction, as a boot does. There is no rpm
// distribution in the lab: the rpm is read, unpacked and checked by Debian's rpm
// on the host.
//
//	tests/packaging/run
package packaging
