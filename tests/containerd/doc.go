// Package containerd runs containerd's own conformance suite for snapshotters
// against thinctl's, through its socket, on a real kernel.
//
//	go test -tags kernel -count=1 -parallel 42 -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/containerd
//
// Caveats: it needs root and a device mapper, which the lab's guest has. Each of
// the suite's tests has a namespace of its own, all of them in one pool and at
// once. The one with 128 layers takes by far the longest: each layer is a prepare,
// two comparisons of all files, a mount, an unmount and a commit. Three quarters of
// that are the suite's own mounting, writing and comparing; of the quarter that is
// ours half is the kernel's, which takes devices away and commits the pool's
// metadata. What each method took is logged at the end.
package containerd
