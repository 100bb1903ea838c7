// Package poweroff cuts the power of the lab's guest at random moments under a
// mixed load of volumes and images, and compares what the next boot finds with
// what was acknowledged:
//
//	go test -tags lab -count=1 -timeout 30m ./tests/crash/poweroff
//
// Each boot first verifies what the previous one was acknowledged, then loads the
// same pool until the power is cut. THINCTL_POWEROFFS (50), THINCTL_SEED (from the
// clock) and THINCTL_KERNEL (6.1) change the number of cuts, the load and the kernel.
//
// # Words
//
// The journal is a disk of its own without a file system. The load writes each act
// to it before the request and after the acknowledgement, one sector each, around
// the guest's page cache. An act in the journal has really begun, or was
// acknowledged, before the power cut. Acknowledgements are printed too, and the host
// finds each line that it has received in the journal.
//
// # Caveats
//
// The power cut is QEMU's SIGKILL: the guest's memory is lost, and data that it has
// written to a disk are kept, in order. This test does not cover disks that lose or
// reorder their own cache.
package poweroff
