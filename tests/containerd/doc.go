// Package containerd runs containerd's own conformance suite for snapshotters
// against thinctl's, through its socket, on a real kernel.
//
//	go test -tags kernel -count=1 -parallel 42 -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/containerd
//
// Caveats: it needs root and a device mapper, which the lab's guest has. Each of
// the suite's tests has a namespace of its own, all of them in one pool and at
// once.
package containerd
