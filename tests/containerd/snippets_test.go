//go:build systemd

package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/images/imagetest"
	"thinctl/tests/programs"
)

// snippets are the files that are handed out for one containerd, put together as
// they say.
type snippets struct {
	major   int // of the containerd that they are for
	files   []string
	plugins []string // that have to be there and well
	without string   // a line to be taken out
}

func allSnippets() map[string]snippets {
	cri := []string{"io.containerd.cri.v1 images", "io.containerd.cri.v1 runtime", "io.containerd.grpc.v1 cri", "io.containerd.transfer.v1 local"}
	return map[string]snippets{
		"1.6":                      {1, []string{"containerd-1.6.toml"}, nil, ""},
		"1.6, CRI":                 {1, []string{"containerd-1.6.toml", "cri-1.7.toml"}, []string{"io.containerd.grpc.v1 cri"}, ""},
		"2.x, CRI":                 {2, []string{"containerd-2.toml"}, cri, ""},
		"2.x, CRI of two runtimes": {2, []string{"containerd-2.toml", "runtimes-2.toml"}, cri, "  snapshotter = \"thinctl\"\n"},
	}
}

// The snippets as they are handed out: containerd takes them, CRI included, finds the
// snapshotter, unpacks for it, and for its own as it did before; and what another has
// left in the namespace is cleared as docs/containerd.md says.
func TestSnippets(t *testing.T) {
	if os.Getenv("THINCTL_LAB") == "" {
		t.Fatal(`run it as go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd`)
	}
	dir, err := os.MkdirTemp("", "snippets-")
	check(t, err)
	pool := programs.Thinctl{Root: dir + "/pools", Pool: "vault"}
	check(t, pool.Create(t.Context(), "--data-size", "4G", "--base-size", "1G"))
	s, err := programs.StartSnapshotter(t.Context(), pool, dir, map[string]string{"k8s": "/run/thinctl/k8s.sock"})
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := errors.Join(s.Stop(ctx), pool.Destroy(ctx)); err != nil {
			t.Error(err)
		}
	})
	major, err := programs.ContainerdMajor(t.Context())
	check(t, err)
	tried := 0
	for name, each := range allSnippets() {
		if each.major == major {
			tried++
			t.Run(name, func(t *testing.T) { each.try(t, pool) })
		}
	}
	if tried == 0 {
		t.Errorf("no snippet is for containerd %d.x", major)
	}
}

func (s snippets) try(t *testing.T, pool programs.Thinctl) {
	dir, err := os.MkdirTemp("", "snippet-")
	check(t, err)
	var text strings.Builder
	for _, name := range s.files {
		part, err := os.ReadFile("../../packaging/containerd/" + name)
		check(t, err)
		text.Write(part)
	}
	file := filepath.Join(dir, "snippet.toml")
	check(t, os.WriteFile(file, []byte(strings.Replace(text.String(), s.without, "", 1)), 0o600))
	c, err := programs.StartConfigured(t.Context(), dir, file)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("containerd said:\n%s", c.Said())
		}
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Logf("containerd %s", c.Version())
	do := func(args ...string) string {
		t.Helper()
		out, err := c.Do(t.Context(), append([]string{"-n", "k8s.io"}, args...)...)
		check(t, err)
		return out
	}
	well := map[string]bool{}
	plugins := do("plugins", "ls")
	for line := range strings.Lines(plugins) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[len(fields)-1] == "ok" {
			well[fields[0]+" "+fields[1]] = true
		}
	}
	for _, name := range append(s.plugins, "io.containerd.snapshotter.v1 thinctl") {
		if !well[name] {
			t.Errorf("the plugin %s is not well:\n%s", name, plugins)
		}
	}
	// What a containerd has left that is no more, whose store was another: here the one
	// before. Its names would be taken for this one's own.
	do("snapshots", "--snapshotter", "thinctl", "prepare", "clear")
	do("snapshots", "--snapshotter", "thinctl", "rm", "clear")
	do("leases", "create", "--id", "clear")
	do("leases", "rm", "--sync", "clear")
	if left := theirs(t, pool); len(left) > 0 {
		t.Errorf("these are left of the one before: %q", left)
	}
	archive := filepath.Join(dir, "image.tar")
	check(t, writeImage(archive))
	for _, snapshotter := range []string{"overlayfs", "thinctl"} {
		do("images", "import", "--snapshotter", snapshotter, "--base-name", "test.local/snippet", archive)
		if ls := do("snapshots", "--snapshotter", snapshotter, "ls"); !strings.Contains(ls, "Committed") {
			t.Errorf("nothing was unpacked for %s:\n%s", snapshotter, ls)
		}
	}
	if len(theirs(t, pool)) == 0 {
		t.Error("nothing of a containerd's is in the pool")
	}
}

// theirs are the pool's volumes that are a containerd's, as `thinctl pool usage` has them.
func theirs(t *testing.T, pool programs.Thinctl) (names []string) {
	t.Helper()
	var usage struct {
		Volumes []struct {
			Volume string `json:"volume"`
		} `json:"volumes"`
	}
	check(t, pool.JSON(t.Context(), &usage, "pool", "usage", pool.Pool))
	for _, v := range usage.Volumes {
		if strings.HasPrefix(v.Volume, "containerd-") {
			names = append(names, v.Volume)
		}
	}
	return names
}

func writeImage(path string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	built, err := imagetest.Build(imagetest.Program("test.local/snippet:1", "/busybox", busybox))
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(imagetest.WriteOCI(file, imagetest.Gzip, built), file.Close())
}
