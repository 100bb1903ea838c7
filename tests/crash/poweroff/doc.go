// Package poweroff cuts the power of the lab's guest at random moments under a
// mixed load of volumes and images, and compares what the next boot finds with
// what was acknowledged:
//
//	go test -tags lab -count=1 -timeout 30m ./tests/crash/poweroff
//
// Each boot first verifies what the one before it was told, then loads the
// same pool until the power goes. THINCTL_POWEROFFS (50), THINCTL_SEED (from
// the clock) and THINCTL_KERNEL (6.1) change what is done.
//
// # Words
//
// The journal is a disk of its own without a file system. The load writes each
// act to it before it asks for it and after the pool acknowledged it, one
// sector each, around the guest's page cache: what stands there was really
// begun, or acknowledged, before the power went. Acknowledgements are printed
// too, and the host finds each line it received in the journal.
//
// # Caveats
//
// The power cut is QEMU's SIGKILL: the guest's memory is lost, what it wrote to
// a disk is kept, in order. A disk that loses or reorders its own cache is not
// this test.
package poweroff
