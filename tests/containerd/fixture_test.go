//go:build systemd

package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// imageName is the image's name in the archive; containerd gives imported images names of
// its own.
const imageName = "test.local/program:1"

const socket = "/run/thinctl-test/snapshotter.sock"

// fixture is a pool with a snapshotter and a containerd that uses it.
type fixture struct {
	ctx  context.Context
	dir  string
	pool programs.Thinctl
	s    *programs.Snapshotter
	c    *programs.Containerd

	more   string // of the daemon's configuration
	layers int    // of the image, above its program
	image  string // containerd's name of it
}

// newFixture makes a pool with these flags. The daemon's configuration has more in [serve],
// and tables after it.
func newFixture(t *testing.T, more string, flags ...string) *fixture {
	t.Helper()
	if os.Getenv("THINCTL_LAB") == "" {
		t.Fatal(`run it as go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd`)
	}
	dir, err := os.MkdirTemp("", "containerd-")
	check(t, err)
	f := &fixture{ctx: t.Context(), dir: dir, more: more, layers: 5,
		pool: programs.Thinctl{Root: dir + "/pools", Pool: "vault"}}
	check(t, programs.InstallRules(f.ctx, "../../packaging/udev/11-dm-thinctl.rules"))
	check(t, f.pool.Create(f.ctx, flags...))
	f.serve(t)
	f.c, err = programs.StartProxied(f.ctx, dir, map[string]string{"thinctl": socket})
	check(t, err)
	t.Logf("containerd %s", f.c.Version())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("output of containerd:\n%s\nof the snapshotter:\n%s", f.c.Output(), f.s.Output())
		}
		if err := errors.Join(f.c.Stop(ctx), f.s.Stop(ctx), f.pool.Destroy(ctx)); err != nil {
			t.Error(err)
		}
	})
	return f
}

// serve starts the snapshotter, and waits until containerd has connected to it.
func (f *fixture) serve(t *testing.T) {
	t.Helper()
	var err error
	f.s, err = programs.StartSnapshotterWith(f.ctx, f.pool, f.dir, map[string]string{"test": socket}, f.more)
	check(t, err)
	// containerd connects again some seconds after a lost connection, and fails requests
	// until then.
	if f.c != nil {
		until(t, "answer through containerd", time.Minute, func() error {
			_, err := f.c.Snapshots(f.ctx, "thinctl", "ls")
			return err
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until repeats try until it succeeds.
func until(t *testing.T, what string, patience time.Duration, try func() error) {
	t.Helper()
	check(t, programs.Until(t.Context(), what, patience, try))
}

// archive writes an image of a program and of more layers.
func (f *fixture) archive(t *testing.T) string {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	check(t, err)
	image := imagetest.Program(imageName, "/busybox", busybox)
	for n := range f.layers {
		image.Layers = append(image.Layers, imagetest.Plain(fmt.Sprint("more", n), 1<<20, uint64(n)).Layers...)
	}
	built, err := imagetest.Build(image)
	check(t, err)
	path := filepath.Join(f.dir, "image.tar")
	file, err := os.Create(path)
	check(t, err)
	check(t, errors.Join(imagetest.WriteOCI(file, imagetest.Gzip, built), file.Close()))
	return path
}

// importImage imports the archive's image into containerd.
func (f *fixture) importImage(t *testing.T) {
	t.Helper()
	f.do(t, "images", "import", "--snapshotter", "thinctl", "--base-name", "test.local/program", f.archive(t))
	names := strings.Fields(f.do(t, "images", "ls", "-q"))
	if len(names) != 1 {
		t.Fatalf("images: got %q, want one", names)
	}
	f.image = names[0]
}

func (f *fixture) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := f.c.Do(f.ctx, args...)
	if err != nil {
		t.Fatalf("ctr %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (f *fixture) start(args ...string) (string, error) {
	return f.c.Do(f.ctx, append([]string{"run", "--snapshotter", "thinctl"}, args...)...)
}

// shell starts a container in the background.
func (f *fixture) shell(t *testing.T, name, line string) {
	t.Helper()
	_, err := f.start("-d", f.image, name, "/busybox", "sh", "-c", line)
	check(t, err)
}

// exec runs a line in a running container.
func (f *fixture) exec(container, id, line string) (string, error) {
	return f.c.Do(f.ctx, "tasks", "exec", "--exec-id", id, container, "/busybox", "sh", "-c", line)
}

// kill ends a container and removes it.
func (f *fixture) kill(t *testing.T, name string) {
	t.Helper()
	f.do(t, "tasks", "kill", "--signal", "SIGKILL", name)
	check(t, f.remove(name))
}

// remove waits until a container's process has ended.
func (f *fixture) remove(name string) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		_, err := f.c.Do(f.ctx, "tasks", "rm", name)
		if err == nil || strings.Contains(err.Error(), "not found") {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, err := f.c.Do(f.ctx, "containers", "rm", name)
	return err
}

// root returns the directory at which containerd has mounted a container's files.
func (f *fixture) root(t *testing.T, name string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	check(t, err)
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasSuffix(fields[1], "/"+name+"/rootfs") {
			return fields[1]
		}
	}
	t.Fatalf("container %s is not mounted", name)
	return ""
}
