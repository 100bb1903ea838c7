//go:build systemd

package containerd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/tests/programs"
)

// TestDiffOfRunning requests differences of running containers through containerd's diff
// service. They hold what the container has written, in every compression. A daemon that is
// killed in the middle leaves nothing behind.
func TestDiffOfRunning(t *testing.T) {
	f := newFixture(t, "", "--data-size", "8G", "--base-size", "2G")
	f.importImage(t)
	// The first container's view gets a device.
	f.shell(t, "web", `echo one > /new; /busybox rm /more1; /busybox mkdir -m 700 /d; /busybox ln /new /d/link
		/busybox mknod /d/null c 1 3; n=0; while :; do n=$((n+1)); echo $n >> /log; /busybox sleep 0.2; done`)
	until(t, "file of the container", time.Minute, func() error {
		_, err := os.Stat(f.root(t, "web") + "/log")
		return err
	})
	before := f.left(t)
	for _, media := range []string{"", "application/vnd.oci.image.layer.v1.tar"} {
		var args []string
		if media != "" {
			args = append(args, "--media-type", media)
		}
		out, err := f.c.Diff(f.ctx, "thinctl", "web", args...)
		check(t, err)
		got := entries(t, out, media == "")
		for name, kind := range map[string]byte{"new": tar.TypeReg, "log": tar.TypeReg, "d/": tar.TypeDir,
			"d/link": tar.TypeLink, "d/null": tar.TypeChar} {
			// The first name of a file has its contents, the others are links to it.
			if is := got[name]; is != kind && (name != "d/link" && name != "new" || is != tar.TypeLink && is != tar.TypeReg) {
				t.Errorf("%s is %q in the layer, want %q", name, is, kind)
			}
		}
		if _, wrong := got["busybox"]; wrong {
			t.Errorf("the layer has what was not changed: %q", slices.Sorted(maps.Keys(got)))
		}
	}
	f.sameBut(t, before)
	if f.c.Differs() {
		f.killedInDiff(t, before)
	}
	f.kill(t, "web")
}

// sameBut compares with the earlier counts, without the container's own files.
func (f *fixture) sameBut(t *testing.T, before map[string]int64) {
	t.Helper()
	f.asBefore(t, before, "bytes", "metadata")
}

// entries returns the entries of a layer, by name.
func entries(t *testing.T, layer []byte, zipped bool) map[string]byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(layer)
	if zipped {
		z, err := gzip.NewReader(r)
		check(t, err)
		r = z
	}
	found := map[string]byte{}
	for in := tar.NewReader(r); ; {
		entry, err := in.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		check(t, err)
		found[entry.Name] = entry.Typeflag
	}
}

// killedInDiff kills the daemon while it writes a layer.
func (f *fixture) killedInDiff(t *testing.T, before map[string]int64) {
	t.Helper()
	_, err := f.exec("web", "fill", "/busybox dd if=/dev/urandom of=/big bs=1M count=16")
	check(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := f.c.Diff(context.WithoutCancel(f.ctx), "thinctl", "web")
		ended <- err
	}()
	until(t, "mounts of a difference", 2*time.Minute, func() error {
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err == nil && strings.Count(string(mounts), "/mnt/.work-") < 2 {
			err = errors.New("they are not there")
		}
		return err
	})
	check(t, f.s.Kill())
	if err := <-ended; err == nil {
		t.Error("the difference was written by a daemon that was killed")
	}
	f.serve(t)
	// containerd could not remove the view in the meantime. The view and its device are
	// removed by the next garbage collection after a snapshot was removed.
	f.asBefore(t, before, "bytes", "metadata", "devices", "nodes")
	// Differences work again.
	out, err := f.c.Diff(f.ctx, "thinctl", "web")
	check(t, err)
	if entries(t, out, true)["big"] != tar.TypeReg {
		t.Error("after the daemon was killed the layer has no /big")
	}
	f.sameBut(t, before)
}

// TestDockerCommit runs docker commit on a container that writes, with the Docker in the
// directory THINCTL_DOCKER_BIN. Its images and containers are in a pool.
func TestDockerCommit(t *testing.T) {
	bin := os.Getenv("THINCTL_DOCKER_BIN")
	if os.Getenv("THINCTL_LAB") == "" || bin == "" {
		t.Fatal(`run: go run ./tests/debian/unpack sid .build/docker-sid containerd docker.io docker-cli; then THINCTL_DOCKER_BIN="$PWD/.build/docker-sid" go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" -run DockerCommit ./tests/containerd`)
	}
	dir, err := os.MkdirTemp("", "docker-")
	check(t, err)
	f := &fixture{ctx: t.Context(), dir: dir, layers: 2, pool: programs.Thinctl{Root: dir + "/pools", Pool: "vault"}}
	check(t, programs.InstallRules(f.ctx, "../../packaging/udev/11-dm-thinctl.rules"))
	check(t, f.pool.Create(f.ctx, "--data-size", "8G", "--base-size", "2G"))
	f.serve(t)
	d, err := programs.StartDockerOn(f.ctx, dir, bin, "thinctl", socket)
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("output of Docker:\n%s\nof the snapshotter:\n%s", d.Output(), f.s.Output())
		}
		if err := errors.Join(d.Stop(ctx), f.s.Stop(ctx), f.pool.Destroy(ctx)); err != nil {
			t.Error(err)
		}
	})
	do := func(args ...string) string {
		t.Helper()
		out, err := d.Do(f.ctx, args...)
		if err != nil {
			t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	t.Logf("Docker %s", do("version", "--format", "{{.Server.Version}}"))
	check(t, d.Load(f.ctx, f.archive(t)))
	do("run", "-d", "--network=none", "--name", "web", imageName, "/busybox", "sh", "-c",
		`echo kept > /file; /busybox rm /more1; n=0; while :; do n=$((n+1)); echo $n >> /log; /busybox sleep 0.2; done`)
	until(t, "file of the container", time.Minute, func() error {
		_, err := d.Do(f.ctx, "exec", "web", "/busybox", "test", "-s", "/log")
		return err
	})
	began := time.Now()
	do("commit", "web", "test.local/committed:1")
	t.Logf("committed in %.1f s", time.Since(began).Seconds())
	if out := do("inspect", "--format", "{{.State.Running}}", "web"); out != "true" {
		t.Errorf("the container runs after its commit: %s", out)
	}
	out := do("run", "--rm", "--network=none", "test.local/committed:1", "/busybox", "sh", "-c",
		"/busybox cat /file; /busybox test -s /log && echo logged; /busybox test -e /more1 || echo removed")
	if out != "kept\nlogged\nremoved" {
		t.Errorf("output of a container of the committed image: got %q", out)
	}
	do("commit", "web", "test.local/committed:2") // again, over the first one's rest
	do("rm", "-f", "web")
	do("image", "rm", "-f", "test.local/committed:1", "test.local/committed:2", imageName)
	until(t, "end of the garbage collection", 3*time.Minute, func() error {
		var usage struct {
			Volumes []struct {
				Volume string `json:"volume"`
			} `json:"volumes"`
		}
		if err := f.pool.JSON(f.ctx, &usage, "pool", "usage", f.pool.Pool); err != nil {
			return err
		}
		for _, v := range usage.Volumes {
			if !strings.HasPrefix(v.Volume, "template-") {
				return fmt.Errorf("got volumes %v, want none", usage.Volumes)
			}
		}
		return f.checked()
	})
}
