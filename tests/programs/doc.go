// Package programs drives the programs that tests compare thinctl with, and
// thinctl itself: Docker, podman, skopeo, docker-registry and containerd, as
// Debian packages them, each with a root of its own.
//
// Words: a root is the folder where a program keeps its images; a daemon is
// one that was started here and is stopped here.
//
// Caveats: everything runs as root in the lab's guest with systemd, on its
// scratch disk, for tmpfs holds no pool. Docker has neither bridge nor
// iptables, so that containers have no network. A method returns what the
// program wrote to standard output; what it wrote to standard error is part of
// the error.
//
//	docker, err := programs.StartDocker(ctx, dir, programs.DockerOptions{Driver: "devicemapper"})
//	...
//	defer docker.Stop(ctx)
//	_, err = docker.Do(ctx, "load", "-i", "image.tar")
package programs
