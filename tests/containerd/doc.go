// Package containerd runs containerd's own conformance suite for snapshotters
// against thinctl's, through its socket, on a real kernel; and has a real containerd
// with runc, Debian's, keep its containers in thinctl's pools.
//
//	go test -tags kernel -count=1 -parallel 42 -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/containerd
//	go test -tags systemd -count=1 -timeout 40m -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd
//	go test -tags lab -count=1 -timeout 40m ./tests/containerd    power cuts
//
// With THINCTL_CONTAINERD_BIN it is the containerd in that folder, in place of Debian's;
// tests/containerd/build makes one of the version in go.mod. The snippets of
// packaging/containerd are tried on either. With THINCTL_DOCKER_BIN it is the Docker in that
// directory, with its containerd; tests/debian/unpack makes one of another Debian suite.
//
// THINCTL_CONTAINERS is how many containers are started at once, THINCTL_ROUNDS how
// many random rounds follow, THINCTL_CUTS how often the power is cut. `make
// containerd` runs all of it.
//
// Caveats: it needs root and a device mapper, which the lab's guest has. Each of
// the suite's tests has a namespace of its own, all of them in one pool and at
// once. The one with 128 layers takes by far the longest: each layer is a prepare,
// two comparisons of all files, a mount, an unmount and a commit. Three quarters of
// that are the suite's own mounting, writing and comparing; of the quarter that is
// ours half is the kernel's, which takes devices away and commits the pool's
// metadata. What each method took is logged at the end.
//
// A reboot is a power cut and a new guest with the old one's /scratch, where the
// pools and containerd's store are: its root is fresh, so that the units and their
// configuration are installed anew, and all that is enabled is started at once, as
// a boot does.
package containerd
