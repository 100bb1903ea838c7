//go:build systemd

package containerd

import (
	"context"
	"encoding/json"
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

// TestDockerStore runs Docker with the pool as its image store, with the snippets for it
// and the programs in THINCTL_DOCKER_BIN: load, run, list, remove. Nothing is left behind.
func TestDockerStore(t *testing.T) {
	bin := os.Getenv("THINCTL_DOCKER_BIN")
	if os.Getenv("THINCTL_LAB") == "" || bin == "" {
		t.Fatal(`run go run ./tests/debian/unpack sid .build/docker-sid containerd docker.io docker-cli, then
THINCTL_DOCKER_BIN="$PWD/.build/docker-sid" go test -tags systemd -run DockerStore -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd`)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("THINCTL_CONTAINERD_BIN", bin)
	release, err := programs.ContainerdVersion(t.Context())
	check(t, err)
	dir, err := os.MkdirTemp("", "store-")
	check(t, err)
	pool := programs.Thinctl{Root: dir + "/pools", Pool: "vault"}
	check(t, pool.Create(t.Context(), "--data-size", "4G", "--base-size", "1G"))
	table, err := os.ReadFile(snippetDir + "thinctl.toml")
	check(t, err)
	s, err := programs.StartSnapshotterWith(t.Context(), pool, dir, nil, string(table))
	check(t, err)
	plugin := map[bool]string{true: "containerd-2.toml", false: "containerd-1.7.toml"}[numbers(release)[0] >= 2]
	file, err := filepath.Abs(snippetDir + plugin)
	check(t, err)
	c, err := programs.StartConfigured(t.Context(), dir, file)
	check(t, err)
	// docker-daemon.json names the path of the system's containerd.
	check(t, os.MkdirAll("/run/containerd", 0o711))
	os.Remove("/run/containerd/containerd.sock")
	check(t, os.Symlink(c.Address(), "/run/containerd/containerd.sock"))
	d, err := programs.StartDockerConfigured(t.Context(), dir, snippetDir+"docker-daemon.json")
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("output of Docker:\n%s\nof containerd:\n%s\nof the snapshotter:\n%s", d.Output(), c.Output(), s.Output())
		}
		if err := errors.Join(d.Stop(ctx), c.Stop(ctx), s.Stop(ctx), pool.Destroy(ctx)); err != nil {
			t.Error(err)
		}
	})
	do := func(args ...string) string {
		t.Helper()
		out, err := d.Do(t.Context(), args...)
		if err != nil {
			t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	t.Logf("Docker %s on containerd %s", do("version", "--format", "{{.Server.Version}}"), release)
	if got := do("info", "--format", "{{.Driver}}"); got != "thinctl" {
		t.Fatalf("Docker keeps images in %q, want thinctl", got)
	}
	archive := filepath.Join(dir, "docker.tar")
	check(t, writeDockerImage(archive))
	check(t, d.Load(t.Context(), archive))
	if got := do("images", "--format", "{{.Repository}}:{{.Tag}}"); got != storeImage {
		t.Errorf("docker images lists %q, want %q", got, storeImage)
	}
	if got := do("run", "--rm", "--network=none", storeImage, "/busybox", "sh", "-c",
		"echo it runs > /file; /busybox cat /file"); got != "it runs" {
		t.Errorf("docker run printed %q, want it runs", got)
	}
	do("run", "-d", "--network=none", "--name", "web", storeImage, "/busybox", "sh", "-c",
		"echo kept > /file; exec /busybox sleep 100000")
	do("stop", "-t", "1", "web")
	do("start", "web")
	if got := do("exec", "web", "/busybox", "cat", "/file"); got != "kept" {
		t.Errorf("after a restart the container's file is %q, want kept", got)
	}
	if len(theirs(t, pool)) == 0 {
		t.Error("got no volume of Docker in the pool")
	}
	if out, err := d.Do(t.Context(), "rmi", storeImage); err == nil {
		t.Errorf("an image in use was removed: %s", out)
	}
	do("rm", "-f", "web")
	do("rmi", storeImage)
	if got := do("images", "-q"); got != "" {
		t.Errorf("docker images lists %q, want nothing", got)
	}
	until(t, "empty pool", 3*time.Minute, func() error {
		if left := theirs(t, pool); len(left) > 0 {
			return fmt.Errorf("got %q, want none left", left)
		}
		var report struct {
			Pools []struct {
				Healthy  bool              `json:"healthy"`
				Findings []json.RawMessage `json:"findings"`
			} `json:"pools"`
		}
		if err := pool.JSON(t.Context(), &report, "pool", "check", pool.Pool); err != nil {
			return err
		}
		if len(report.Pools) != 1 || !report.Pools[0].Healthy || len(report.Pools[0].Findings) > 0 {
			return fmt.Errorf("check: got %+v", report)
		}
		return nil
	})
	for _, args := range [][]string{{"snapshots", "--snapshotter", "thinctl", "ls"}, {"content", "ls", "-q"},
		{"images", "ls", "-q"}, {"containers", "ls", "-q"}} {
		out, err := c.Do(t.Context(), append([]string{"-n", "moby"}, args...)...)
		check(t, err)
		if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) > 1 || lines[0] != "" &&
			!strings.HasPrefix(lines[0], "KEY") {
			t.Errorf("ctr %s: got\n%s", strings.Join(args, " "), out)
		}
	}
}

const storeImage = "test.local/store:1"

// writeDockerImage does what writeImage does, in Docker's own format.
func writeDockerImage(path string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	built, err := imagetest.Build(imagetest.Program(storeImage, "/busybox", busybox))
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(imagetest.WriteDocker(file, built), file.Close())
}
