// Package docker runs a current Docker whose images and containers are in a pool of
// thinctl, configured with the files of packaging/containerd. It repeats the experiments
// of Docker's devicemapper driver with the docker command, kills the daemons, fills the
// pool, and checks that nothing is left behind at the end.
//
//	dir=$(go run ./tests/debian/unpack sid .build/docker-sid containerd docker.io docker-cli docker-buildx)
//	THINCTL_DOCKER_BIN=$dir go test -tags systemd -count=1 -timeout 30m \
//	    -exec "$PWD/tests/lab/run --systemd --" ./tests/docker
//
// The programs in THINCTL_DOCKER_BIN are those of any Debian suite; runc is the guest's.
// Sizes are a sixteenth of those of the experiments, or 1/THINCTL_SEEDS_SCALE.
//
// Caveat: the containers have no network.
package docker
