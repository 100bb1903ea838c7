// Command peers measures thinctl beside its peers: what a volume, a snapshot
// and a removal cost through thinctl, through dmsetup, through LVM, and through
// the bare ioctls with one fsync, the floor that no program which remembers
// what it did can go below.
//
// # Words
//
// A peer is one way to drive a pool. An operation is timed from the call, or
// the start of the process, to its end. Peers take turns at each operation, so
// that drift of the machine hits all alike; those that take long have fewer. A
// size is how many volumes the pools hold meanwhile.
//
// # Caveats
//
// Every peer has a pool of its own, on loop devices over sparse files of one
// file system. Times compare within one run; the figure to look at is the
// ratio to the floor. Nothing here fails because it was slow.
//
//	tests/peers/run
//	tests/peers/run -sizes 10 -rounds 30 -peers floor,thinctl
package main
