// Package main measures containerd's snapshots on thinctl beside its own
// devmapper and overlayfs snapshotters, through one containerd's gRPC, in one
// guest: Prepare, Mounts, Usage, Commit, View and Remove on chains of some
// depths, with some clients at once. "thinctl, direct" is thinctl's socket without
// containerd before it, and the floor is the bare ioctls with one fsync for each
// transaction.
//
// Caveats: times compare within one run only. Devmapper's pool is made as its
// documentation has it, with thinctl's block size and low-water mark; it skips
// zeroing, and thinctl does not. What clients wait for each other is in their times.
//
//	tests/peers/containerd/run -depths 1,16,128 -clients 1,8,32
package main
