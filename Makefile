# make demo      the main job, for real, on a real kernel
# make test      every stage below but nightly: lint, unit, kernel, crash, systems
# make lint      formatting, vet, import rules
# make unit      tests that need no other kernel
# make kernel    contract and integration tests on real kernels, the runbooks' drills
# make crash     processes killed and machines powered off
# make systems   Docker, podman, skopeo, containerd, the packages, the acceptance experiments
# make nightly   what takes longer than make test may, all of it; hours where the guest is emulated
# make bench             benchmarks beside dmsetup, LVM and the bare ioctls
# make bench-metadata    reading metadata beside thin-provisioning-tools
# make bench-images      layers, images and containers beside Docker and containerd
# make bench-containerd  containerd's snapshotters: thinctl, devmapper, overlayfs
# make seeds, roundtrips, kills, oncall   one part of nightly each
# make packages  deb and rpm, into dist/
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
