// Package programs drives the programs that tests compare thinctl with, and thinctl
// itself: Docker, podman, skopeo, docker-registry and containerd, as Debian packages
// them, each with a root of its own.
//
// Words: a root is the directory in which a program keeps its images; a daemon is a
// program that this package starts and stops.
//
// Caveats: everything runs as root in the lab's guest with systemd, on its scratch
// disk, because a tmpfs holds no pool. Docker has neither bridge nor iptables, so
// containers have no network. A method returns the program's standard output; its
// standard error is part of the error.
//
//	docker, err := programs.StartDocker(ctx, dir, programs.DockerOptions{Driver: "devicemapper"})
//	...
//	defer docker.Stop(ctx)
//	_, err = docker.Do(ctx, "load", "-i", "image.tar")
package programs
