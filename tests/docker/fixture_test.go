//go:build systemd

package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/figures"
	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

const (
	mib = 1 << 20
	// small is the most that a step may use that copies nothing.
	small = 2 * mib

	snippets = "../../packaging/containerd/"
)

// fixture is a Docker on a pool.
type fixture struct {
	*testing.T
	*figures.Table
	scale int64 // sizes are 1/scale of those of the experiments
	dir   string
	// refused is the number of containers that Docker could not make. It keeps an empty
	// lease for each.
	refused int
	pool    programs.Thinctl
	s       *programs.Snapshotter
	c       *programs.Containerd
	d       *programs.DockerStore
}

// newFixture starts Docker on a new pool. config are tables of thinctl's configuration.
func newFixture(t *testing.T, config string, poolFlags ...string) *fixture {
	t.Helper()
	bin := os.Getenv("THINCTL_DOCKER_BIN")
	if os.Getenv("THINCTL_LAB") == "" || bin == "" {
		t.Fatal("see the package comment for how to run it")
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("THINCTL_CONTAINERD_BIN", bin)
	f := &fixture{T: t, Table: figures.New(t), scale: 16}
	var err error
	if text := os.Getenv("THINCTL_SEEDS_SCALE"); text != "" {
		f.scale, err = strconv.ParseInt(text, 10, 64)
		f.check(err)
	}
	f.dir, err = os.MkdirTemp("", "docker-")
	f.check(err)
	f.plugins(bin)
	f.pool = programs.Thinctl{Root: f.dir + "/pools", Pool: "vault"}
	f.check(f.pool.Create(t.Context(), append([]string{"--base-size", "2G"}, poolFlags...)...))
	table, err := os.ReadFile(snippets + "thinctl.toml")
	f.check(err)
	f.s, err = programs.StartSnapshotterWith(t.Context(), f.pool, f.dir, nil, config+string(table))
	f.check(err)
	release, err := programs.ContainerdVersion(t.Context())
	f.check(err)
	plugin := "containerd-2.toml"
	if strings.HasPrefix(release, "1.") {
		plugin = "containerd-1.7.toml"
	}
	file, err := filepath.Abs(snippets + plugin)
	f.check(err)
	f.c, err = programs.StartConfigured(t.Context(), f.dir, file)
	f.check(err)
	f.check(f.c.AsSystem())
	f.d, err = programs.StartDockerConfigured(t.Context(), f.dir, snippets+"docker-daemon.json")
	f.check(err)
	t.Cleanup(f.close)
	t.Logf("Docker %s on containerd %s", f.docker("version", "--format", "{{.Server.Version}}"), release)
	if got := f.docker("info", "--format", "{{.Driver}}"); got != "thinctl" {
		t.Fatalf("Docker keeps images in %q, want thinctl", got)
	}
	return f
}

// plugins makes the command-line plugins of bin known to docker.
func (f *fixture) plugins(bin string) {
	f.Helper()
	config := filepath.Join(f.dir, "config")
	f.check(os.MkdirAll(filepath.Join(config, "cli-plugins"), 0o700))
	f.check(os.Symlink(filepath.Join(bin, "docker-buildx"), filepath.Join(config, "cli-plugins/docker-buildx")))
	f.Setenv("DOCKER_CONFIG", config)
}

func (f *fixture) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if f.Failed() {
		f.Logf("output of Docker:\n%s\nof containerd:\n%s\nof the snapshotter:\n%s",
			f.d.Output(), f.c.Output(), f.s.Output())
	}
	if err := errors.Join(f.d.Stop(ctx), f.c.Stop(ctx), f.s.Stop(ctx), f.pool.Destroy(ctx)); err != nil {
		f.Error(err)
	}
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) until(what string, try func() error) {
	f.Helper()
	f.check(programs.Until(f.Context(), what, 3*time.Minute, try))
}

// docker runs the docker command.
func (f *fixture) docker(args ...string) string {
	f.Helper()
	f.Logf("%s docker %s", time.Now().Format(time.TimeOnly), strings.Join(args, " "))
	out, err := f.d.Do(f.Context(), args...)
	if err != nil {
		f.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// run starts a container that does nothing.
func (f *fixture) run(name string) {
	f.Helper()
	f.docker("run", "-d", "--network=none", "--name", name, "one")
}

func (f *fixture) space() programs.PoolSpace {
	f.Helper()
	space, err := f.pool.Space(f.Context())
	f.check(err)
	return space
}

// size returns the size of a container's layer, as docker ps -s lists it.
func (f *fixture) size(container string) int64 {
	f.Helper()
	n, err := strconv.ParseInt(f.docker("inspect", "-s", "--format", "{{.SizeRw}}", container), 10, 64)
	f.check(err)
	return n
}

// contexts writes the directories of the two images' Dockerfiles. Both begin with the
// same layer, which has the program.
func (f *fixture) contexts() (one, two string) {
	f.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	f.check(err)
	shared := imagetest.Program("shared", "/busybox", busybox).Layers[0]
	first, second := imagetest.Seeds(imagetest.SeedOptions{Scale: f.scale})
	write := func(name, dockerfile string, layers map[string]imagetest.Layer) string {
		dir := filepath.Join(f.dir, name)
		f.check(os.Mkdir(dir, 0o700))
		f.check(os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600))
		for file, layer := range layers {
			out, err := os.Create(filepath.Join(dir, file))
			f.check(err)
			f.check(errors.Join(layer.WriteTar(out), out.Close()))
		}
		return dir
	}
	one = write("one", `FROM scratch
ADD shared.tar /
LABEL maintainer="thinctl"
ADD files.tar /
RUN ["/busybox", "dd", "if=/dev/urandom", "of=/written", "bs=1k", "count=200"]
ENV PATH=/
EXPOSE 80
ADD program.tar /
CMD ["/busybox", "sleep", "1000000"]
`, map[string]imagetest.Layer{"shared.tar": shared, "files.tar": first.Layers[1], "program.tar": first.Layers[5]})
	two = write("two", `FROM scratch
ADD shared.tar /
LABEL maintainer="thinctl"
ADD files.tar /
RUN ["/busybox", "rm", "-r", "/usr/share/two-1/d000"]
ADD program.tar /
CMD ["/busybox", "sleep", "1000000"]
`, map[string]imagetest.Layer{"shared.tar": shared, "files.tar": second.Layers[1], "program.tar": second.Layers[4]})
	return one, two
}

// empty waits until nothing is left of Docker in the pool and in containerd.
func (f *fixture) empty() {
	f.Helper()
	f.until("empty pool", func() error {
		left, err := f.pool.OfContainerd(f.Context())
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("got the volumes %q, want none", left)
		}
		if err == nil {
			err = f.pool.Sound(f.Context())
		}
		return err
	})
	// The leases of layers that thinctl has written expire after an hour.
	leases, err := f.c.Do(f.Context(), "-n", "moby", "leases", "ls", "-q")
	f.check(err)
	others := 0
	for _, lease := range strings.Fields(leases) {
		if !strings.HasPrefix(lease, "thinctl-diff-") {
			others++
		}
		_, err := f.c.Do(f.Context(), "-n", "moby", "leases", "rm", "--sync", lease)
		f.check(err)
	}
	if others != f.refused {
		f.Errorf("got %d leases that are not thinctl's, want %d", others, f.refused)
	}
	for _, args := range [][]string{{"snapshots", "--snapshotter", "thinctl", "ls"}, {"content", "ls", "-q"},
		{"images", "ls", "-q"}, {"containers", "ls", "-q"}} {
		out, err := f.c.Do(f.Context(), append([]string{"-n", "moby"}, args...)...)
		f.check(err)
		if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) > 1 || lines[0] != "" &&
			!strings.HasPrefix(lines[0], "KEY") {
			f.Errorf("ctr %s: got\n%s", strings.Join(args, " "), out)
		}
	}
}
