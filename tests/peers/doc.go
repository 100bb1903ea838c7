// Command peers compares thinctl with its peers: the time of a volume, a snapshot and a
// removal through thinctl, dmsetup, LVM, and the bare ioctls with one fsync. The last is
// the floor: no program that records its work can be faster.
//
// # Words
//
// A peer is one way to drive a pool. An operation is timed from the call, or the start of
// the process, to its end. Peers take turns at each operation, so that drift of the machine
// affects all alike; slow peers have fewer turns. A size is the number of volumes in the
// pools.
//
// # Caveats
//
// Every peer has a pool of its own, on loop devices over sparse files of one file system.
// Times compare within one run; the ratio to the floor is the figure to compare. Nothing
// fails because it was slow.
//
//	tests/peers/run
//	tests/peers/run -sizes 10 -rounds 30 -peers floor,thinctl
package main
