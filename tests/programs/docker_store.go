package programs

import (
	"context"
	"os"
	"path/filepath"
)

// StartDockerConfigured starts the dockerd on PATH with a daemon.json. It finds the
// containerd that [Containerd.AsSystem] has made the system's. Only its directories, socket
// and network differ from the file. Containers continue while it is away, as with
// "live-restore".
func StartDockerConfigured(ctx context.Context, dir, file string) (*DockerStore, error) {
	run, err := os.MkdirTemp("/run", "docker-")
	if err != nil {
		return nil, err
	}
	d := &DockerStore{socket: "unix://" + run + "/docker.sock"}
	root := filepath.Join(dir, "docker")
	d.daemon, err = startDaemon(ctx, root+".log", func(ctx context.Context) error {
		_, err := d.Do(ctx, "version")
		return err
	}, "dockerd", "--config-file", file, "--data-root", root, "--exec-root", run+"/exec", "--pidfile", run+"/pid",
		"--live-restore", "-H", d.socket, "--bridge=none", "--iptables=false", "--ip6tables=false")
	return d, err
}

// DockerStore is a Docker whose images are containerd's.
type DockerStore struct {
	*daemon
	socket string
}

// Build builds an image from the directory of a Dockerfile, with BuildKit or with Docker's
// older builder. The steps have no network.
func (d *DockerStore) Build(ctx context.Context, buildkit bool, dir, tag string) (string, error) {
	env := "DOCKER_BUILDKIT=" + map[bool]string{true: "1", false: "0"}[buildkit]
	return RunWith(ctx, []string{env}, "docker", "-H", d.socket, "build", "--network", "none", "-t", tag, dir)
}

// Do runs the docker command.
func (d *DockerStore) Do(ctx context.Context, args ...string) (string, error) {
	return Run(ctx, "docker", append([]string{"-H", d.socket}, args...)...)
}

// Load loads an archive.
func (d *DockerStore) Load(ctx context.Context, archive string) error {
	_, err := d.Do(ctx, "load", "-q", "-i", archive)
	return err
}
