# make demo   the main job, for real, on a real kernel
# make test   every test, unit and kernel
# make bench  benchmarks beside dmsetup, LVM and the bare ioctls
# make bench-metadata  reading metadata beside thin-provisioning-tools
# make bench-images  layers, images and containers beside Docker and containerd
# make bench-containerd  containerd's snapshotters: thinctl, devmapper, overlayfs
# make containerd  containerd's conformance suite on each kernel, Debian's containerd and 2.x: an hour where emulated
# make seeds  the experiments that the product comes from, at full size
# make roundtrips  every image to and from Docker, podman, skopeo, a registry: an hour where emulated
# make kills  killed at every single step on a real kernel: ten minutes where emulated
# make oncall  pools fill under load, a real Prometheus pages, the runbook is followed; draws docs/pictures
# make packages  deb and rpm, into dist/
# make docs   man page, completions and the list of metrics
# make lint   formatting, vet, import rules

KERNELS ?= 6.1 6.12
# Of make containerd: containers at once, random rounds, power cuts in an import.
CONTAINERS ?= 50
ROUNDS ?= 1000
CUTS ?= 6

.PHONY: build demo test unit kernel bench bench-metadata bench-images bench-containerd containerd seeds roundtrips kills oncall packages docs lint

build:
	CGO_ENABLED=0 go build -trimpath -o bin/thinctl ./cmd/thinctl

demo:
	@tests/demo/run

test:
	@tests/run $(KERNELS)

bench:
	@tests/peers/run

bench-metadata:
	@tests/peers/metadata/run

bench-images:
	@tests/peers/images/run

bench-containerd:
	@tests/peers/containerd/run

containerd:
	for kernel in $(KERNELS); do go test -tags kernel -count=1 -parallel 42 -timeout 60m \
		-exec "$(CURDIR)/tests/lab/run --kernel $$kernel --timeout 60m --" ./tests/containerd || exit 1; done
	THINCTL_CONTAINERS=$(CONTAINERS) THINCTL_ROUNDS=$(ROUNDS) go test -tags systemd -v -count=1 -timeout 3h \
		-exec "$(CURDIR)/tests/lab/run --systemd --timeout 3h --" ./tests/containerd
	THINCTL_CUTS=$(CUTS) go test -tags lab -v -count=1 -timeout 2h ./tests/containerd
	tests/containerd/build .build/containerd
	THINCTL_CONTAINERD_BIN="$(CURDIR)/.build/containerd" THINCTL_CONTAINERS=$(CONTAINERS) go test -tags systemd -v -count=1 -timeout 3h \
		-run '^Test(Containerd|Snippets)$$' -exec "$(CURDIR)/tests/lab/run --systemd --timeout 3h --" ./tests/containerd

seeds:
	@tests/seeds/run

roundtrips:
	THINCTL_ROUNDTRIPS=all go test -tags systemd -v -count=1 -timeout 3h \
		-exec "$(CURDIR)/tests/lab/run --systemd --scratch 60G --timeout 3h --" ./tests/roundtrip

kills:
	THINCTL_EVERY_STEP=1 go test -tags kernel -v -count=1 -timeout 60m \
		-exec "$(CURDIR)/tests/lab/run --kernel $(lastword $(KERNELS)) --timeout 60m --" ./tests/crash

oncall:
	@tests/oncall/run

packages:
	@packaging/build

docs: build
	bin/thinctl docs --dir .

lint:
	@tests/lint
