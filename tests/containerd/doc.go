// Package containerd runs containerd's own conformance suite for snapshotters on
// thinctl's, through its socket, on a real kernel. It also runs a real containerd
// with runc, both Debian's, whose containers are in thinctl's pools.
//
//	go test -tags kernel -count=1 -parallel 42 -exec "$PWD/tests/lab/run --kernel 6.12 --" ./tests/containerd
//	go test -tags systemd -count=1 -timeout 40m -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd
//	go test -tags lab -count=1 -timeout 40m ./tests/containerd    power cuts
//
// With THINCTL_CONTAINERD_BIN it runs the containerd in that directory instead of
// Debian's; tests/containerd/build builds the version in go.mod. The snippets of
// packaging/containerd are tested with either. With THINCTL_DOCKER_BIN it runs the
// Docker in that directory, with its containerd; tests/debian/unpack unpacks one of
// another Debian suite.
//
// THINCTL_CONTAINERS is the number of containers that are started concurrently,
// THINCTL_ROUNDS the number of random rounds that follow, THINCTL_CUTS the number of
// power cuts. tests/run runs all of it.
//
// Caveats: it needs root and a device mapper, which the lab's guest has. Each test
// of the suite has a namespace of its own; all run concurrently in one pool. The one
// with 128 layers takes by far the longest: each layer is a prepare, two comparisons
// of all files, a mount, an unmount and a commit. The suite's own mounts, writes and
// comparisons take three quarters of that. Of our quarter, half is the kernel's,
// which removes devices and commits the pool's metadata. The time of each method is
// logged at the end.
//
// A reboot is a power cut and a new guest with the old one's /scratch, which holds
// the pools and containerd's store. The new guest's root is fresh: the units and
// their configuration are installed again, and all enabled units are started in a
// batch, as a boot does.
package containerd
