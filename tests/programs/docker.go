package programs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"thinctl/internal/testkit/imagetest"
)

// StartDockerOn starts Docker with its containerd image store in a snapshotter, which is
// behind socket. All programs but runc are those in the directory bin.
func StartDockerOn(ctx context.Context, dir, bin, snapshotter, socket string) (*Docker, error) {
	r, err := findRelease(ctx, bin)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "proxies.toml")
	if err := os.WriteFile(config, []byte(r.proxies(map[string]string{snapshotter: socket})), 0o600); err != nil {
		return nil, err
	}
	c, err := r.start(ctx, dir, config)
	if err != nil {
		return nil, err
	}
	run, err := os.MkdirTemp("/run", "docker-")
	if err != nil {
		return nil, errors.Join(err, c.Stop(ctx))
	}
	d := &Docker{Root: filepath.Join(dir, "docker"), Driver: snapshotter, program: r.program("docker"),
		socket: "unix://" + run + "/docker.sock", beside: c.daemon}
	cmd := exec.Command(r.program("dockerd"), "--data-root", d.Root, "--exec-root", run+"/exec", "--pidfile", run+"/pid",
		"--containerd", c.Address(),
		"-H", d.socket, "-s", snapshotter, "--feature", "containerd-snapshotter=true", "--bridge=none", "--iptables=false",
		"--ip6tables=false")
	cmd.Env = r.environment()
	d.itself, err = startCommand(ctx, d.Root+".log", func(ctx context.Context) error {
		_, err := d.Do(ctx, "version")
		return err
	}, cmd)
	if err != nil {
		return nil, errors.Join(err, c.Stop(ctx))
	}
	return d, nil
}

// DockerOptions are the options of a daemon. The zero value keeps images in overlay2.
type DockerOptions struct {
	Driver string   // overlay2, devicemapper
	Flags  []string // of dockerd
}

// Docker is a daemon of docker.io and its command line.
type Docker struct {
	Root           string
	Driver         string
	program        string   // docker
	Env            []string // of the command line, added to the caller's
	socket         string
	itself, beside *daemon // dockerd, and the containerd it needs
}

// StartDocker starts a daemon that keeps its images below dir. It starts Docker's
// containerd too, because dockerd gives its own only 15 seconds to start.
func StartDocker(ctx context.Context, dir string, o DockerOptions) (*Docker, error) {
	if o.Driver == "" {
		o.Driver = "overlay2"
	}
	run, err := os.MkdirTemp("/run", "docker-")
	if err != nil {
		return nil, err
	}
	d := &Docker{Root: filepath.Join(dir, "docker-"+o.Driver), Driver: o.Driver, program: "docker",
		socket: "unix://" + run + "/docker.sock"}
	containerd := run + "/containerd.sock"
	config := filepath.Join(run, "containerd.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = "+
		"[\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n",
		d.Root+"-containerd", run+"/containerd", containerd)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	d.beside, err = startDaemon(ctx, d.Root+"-containerd.log", func(ctx context.Context) error {
		_, err := Run(ctx, "ctr", "-a", containerd, "version")
		return err
	}, "containerd", "-c", config)
	if err != nil {
		return nil, err
	}
	args := append([]string{"--data-root", d.Root, "--exec-root", run + "/exec", "--pidfile", run + "/pid",
		"--containerd", containerd,
		"-H", d.socket, "-s", o.Driver, "--bridge=none", "--iptables=false", "--ip6tables=false"}, o.Flags...)
	d.itself, err = startDaemon(ctx, d.Root+".log", func(ctx context.Context) error {
		_, err := d.Do(ctx, "version")
		return err
	}, "dockerd", args...)
	if err != nil {
		return nil, errors.Join(err, d.beside.Stop(ctx))
	}
	return d, nil
}

// Stop ends Docker, and then its containerd.
func (d *Docker) Stop(ctx context.Context) error {
	return errors.Join(d.itself.Stop(ctx), d.beside.Stop(ctx))
}

// Output returns the end of what Docker and its containerd have written.
func (d *Docker) Output() string { return d.beside.Output() + "\n" + d.itself.Output() }

// Do runs the docker command.
func (d *Docker) Do(ctx context.Context, args ...string) (string, error) {
	return RunWith(ctx, d.Env, d.program, append([]string{"-H", d.socket}, args...)...)
}

// Load loads an archive.
func (d *Docker) Load(ctx context.Context, archive string) error {
	_, err := d.Do(ctx, "load", "-q", "-i", archive)
	return err
}

// Save writes images, by name, as an archive.
func (d *Docker) Save(ctx context.Context, archive string, names ...string) error {
	_, err := d.Do(ctx, append([]string{"save", "-o", archive}, names...)...)
	return err
}

// ID returns the id of an image, without "sha256:".
func (d *Docker) ID(ctx context.Context, image string) (string, error) {
	id, err := d.Do(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return strings.TrimPrefix(id, "sha256:"), err
}

// Step is a line of an image's history as a program prints it, the newest first.
type Step struct {
	CreatedBy string    `json:"created_by"`
	Created   time.Time `json:"created"`
	Size      int64     `json:"size_bytes"`
}

// History returns the output of `docker history`.
func (d *Docker) History(ctx context.Context, image string) ([]Step, error) {
	out, err := d.Do(ctx, "history", "--no-trunc", "--human=false", "--format", "{{json .}}", image)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for line := range strings.Lines(out) {
		var l struct{ CreatedBy, CreatedAt, Size string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return nil, fmt.Errorf("docker history: unexpected output %q: %w", line, err)
		}
		size, err := strconv.ParseInt(l.Size, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("docker history: unexpected output %q: %w", line, err)
		}
		created, err := time.Parse(time.RFC3339, l.CreatedAt)
		if err != nil {
			return nil, fmt.Errorf("docker history: unexpected output %q: %w", line, err)
		}
		steps = append(steps, Step{l.CreatedBy, created.UTC(), size})
	}
	return steps, nil
}

// Tree returns the tree of an image. It is read from the directories of the driver
// overlay2, which are merged without Docker.
func (d *Docker) Tree(ctx context.Context, image string) (imagetest.Tree, error) {
	text, err := d.Do(ctx, "image", "inspect", "--format", "{{json .GraphDriver.Data}}", image)
	if err != nil {
		return nil, err
	}
	var data struct{ LowerDir, UpperDir string }
	if err := json.Unmarshal([]byte(text), &data); err != nil || data.UpperDir == "" {
		return nil, fmt.Errorf("docker keeps %s in %s: %w", image, text, err)
	}
	dirs := []string{data.UpperDir}
	if data.LowerDir != "" {
		dirs = append(dirs, strings.Split(data.LowerDir, ":")...)
	}
	// These are its short names, because a mount's options must fit a page.
	for i, dir := range dirs {
		short, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "link"))
		if err != nil {
			return nil, err
		}
		dirs[i] = "l/" + string(short)
	}
	return overlaid(ctx, filepath.Join(d.Root, "overlay2"), dirs)
}

// Rootfs returns the directory of a running container's files.
func (d *Docker) Rootfs(ctx context.Context, container string) (string, error) {
	if d.Driver == "overlay2" {
		return d.Do(ctx, "inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", container)
	}
	name, err := d.Do(ctx, "inspect", "--format", "{{.GraphDriver.Data.DeviceName}}", container)
	if err != nil {
		return "", err
	}
	id := name[strings.LastIndex(name, "-")+1:]
	return filepath.Join(d.Root, "devicemapper/mnt", id, "rootfs"), nil
}

// Diff returns the output of `docker diff`.
func (d *Docker) Diff(ctx context.Context, container string) ([]string, error) {
	out, err := d.Do(ctx, "diff", container)
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}
