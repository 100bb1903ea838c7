# make demo      the main commands on a real kernel
# make test      every stage below but nightly: lint, unit, kernel, crash, systems
# make lint      formatting, vet, import rules
# make unit      tests that do not need a guest
# make kernel    contract and integration tests on real kernels, and the runbooks' drills
# make crash     kills of processes and power cuts of the guest
# make systems   Docker, podman, skopeo, containerd, the packages, the acceptance experiments
# make nightly   the tests that take longer; hours in an emulated guest
# make bench             benchmarks against dmsetup, LVM and the bare ioctls
# make bench-metadata    reading metadata, against thin-provisioning-tools
# make bench-images      layers, images and containers, against Docker and containerd
# make bench-containerd  containerd's snapshotters: thinctl, devmapper, overlayfs
# make seeds, roundtrips, kills, oncall   one part of nightly each
# make packages  a deb and an rpm in dist/
# make docs      man page, completions and the list of metrics
#
# tests/run --list prints the parts of each stage; tests/run PART runs one.

.PHONY: build demo test lint unit kernel crash systems nightly seeds roundtrips kills oncall \
	bench bench-metadata bench-images bench-containerd packages docs

build:
	CGO_ENABLED=0 go build -trimpath -o bin/thinctl ./cmd/thinctl

demo:
	@tests/demo/run

test:
	@tests/run

lint unit kernel crash systems nightly:
	@tests/run $@

seeds:
	@tests/run full-seeds

roundtrips:
	@tests/run all-round-trips

kills:
	@tests/run every-kill

oncall:
	@tests/run night-on-call

bench:
	@tests/peers/run

bench-metadata:
	@tests/peers/metadata/run

bench-images:
	@tests/peers/images/run

bench-containerd:
	@tests/peers/containerd/run

packages:
	@packaging/build

docs: build
	bin/thinctl docs --dir .
