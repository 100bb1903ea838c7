//go:build systemd

package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

// assembly is a configuration of containerd that is made from the snippets, as their
// comments and docs/containerd.md describe.
type assembly struct {
	name    string
	suits   func(release string) bool
	files   []string
	plugins []string // that must exist and work
	// cri is CRI's default snapshotter, other the one of the runtime kata. They are "" if
	// CRI is not tried, or there is no other.
	cri, other string
	// imagefs replaces the directory of thinctl.toml; STORE is containerd's directory.
	imagefs string
}

func assemblies() []assembly {
	cri1 := []string{"io.containerd.grpc.v1 cri"}
	cri2 := []string{"io.containerd.cri.v1 images", "io.containerd.cri.v1 runtime", "io.containerd.grpc.v1 cri",
		"io.containerd.transfer.v1 local"}
	return []assembly{
		{"1.6", before(1, 7, 16), []string{"containerd-1.6.toml"}, cri1, "", "", ""},
		{"1.6, CRI", before(1, 7, 16), []string{"containerd-1.6.toml", "cri-1.7.toml"}, cri1, "thinctl", "",
			"STORE/io.containerd.snapshotter.v1.thinctl"},
		{"1.7", between(1, 7, 16), []string{"containerd-1.7.toml"}, cri1, "overlayfs", "", ""},
		{"1.7, CRI", between(1, 7, 16), []string{"containerd-1.7.toml", "cri-1.7.toml"}, cri1, "thinctl", "", ""},
		{"1.7, CRI of two runtimes", between(1, 7, 16), []string{"containerd-1.7.toml", "runtimes-1.7.toml"}, cri1,
			"overlayfs", "thinctl", ""},
		{"2.x", between(2, 0, 0), []string{"containerd-2.toml"}, cri2, "overlayfs", "", ""},
		{"2.x, CRI", between(2, 0, 0), []string{"containerd-2.toml", "cri-2.toml"}, cri2, "thinctl", "", ""},
		{"2.x, CRI of two runtimes", between(2, 0, 0), []string{"containerd-2.toml", "runtimes-2.toml"}, cri2, "overlayfs",
			"thinctl", ""},
	}
}

// before limits the assembly to releases below one; between to those from it to the next
// major one.
func before(major, minor, patch int) func(string) bool {
	return func(release string) bool { return slices.Compare(numbers(release), []int{major, minor, patch}) < 0 }
}

func between(major, minor, patch int) func(string) bool {
	return func(release string) bool {
		is := numbers(release)
		return is[0] == major && slices.Compare(is, []int{major, minor, patch}) >= 0
	}
}

// numbers returns those of a release such as 1.6.20~ds1.
func numbers(release string) []int {
	is := make([]int, 3)
	fmt.Sscanf(release, "%d.%d.%d", &is[0], &is[1], &is[2])
	return is
}

// containerd accepts each configuration that the snippets make, CRI included. An image that
// CRI has pulled for one snapshotter is started on each. The kubelet reads the pool's free
// space. The rest of another containerd in the namespace is cleared as docs/containerd.md
// describes.
func TestSnippets(t *testing.T) {
	if os.Getenv("THINCTL_LAB") == "" {
		t.Fatal(`run it as go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd`)
	}
	release, err := programs.ContainerdVersion(t.Context())
	check(t, err)
	dir, err := os.MkdirTemp("", "snippets-")
	check(t, err)
	pool := programs.Thinctl{Root: dir + "/pools", Pool: "vault"}
	check(t, pool.Create(t.Context(), "--data-size", "4G", "--base-size", "1G"))
	table, err := os.ReadFile(snippetDir + "thinctl.toml")
	check(t, err)
	s, err := programs.StartSnapshotterWith(t.Context(), pool, dir, nil, string(table))
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("output of the snapshotter:\n%s", s.Output())
		}
		if err := errors.Join(s.Stop(ctx), pool.Destroy(ctx)); err != nil {
			t.Error(err)
		}
	})
	archive := filepath.Join(dir, "image.tar")
	check(t, writeImage(archive))
	registry, err := programs.StartRegistry(t.Context(), dir)
	check(t, err)
	t.Cleanup(func() { registry.Stop(context.Background()) })
	image := registry.Address + "/snippet:1"
	check(t, programs.SkopeoCopy(t.Context(), "oci-archive:"+archive, "docker://"+image))
	tried, shown := 0, "/run/thinctl/k8s.fs"
	for _, each := range assemblies() {
		if !each.suits(release) {
			continue
		}
		tried++
		t.Run(each.name, func(t *testing.T) {
			store, err := os.MkdirTemp("", "snippet-")
			check(t, err)
			if each.imagefs != "" {
				each.imagefs = strings.Replace(each.imagefs, "STORE", store+"/containerd/root", 1)
				shown = each.imagefs
				check(t, s.Reconfigure(regexp.MustCompile(`imagefs = ".*"`).ReplaceAllString(string(table),
					fmt.Sprintf("imagefs = %q", each.imagefs))))
			}
			each.try(t, store, pool, shown, archive, image)
		})
	}
	if tried == 0 {
		t.Errorf("no snippet is for containerd %s", release)
	}
	// It grows with the pool, on the same device.
	var before, after unix.Stat_t
	check(t, unix.Stat(shown, &before))
	_, err = pool.Do(t.Context(), "pool", "extend", pool.Pool, "--data", "+1G")
	check(t, err)
	expectPool(t, shown, pool)
	check(t, unix.Stat(shown, &after))
	if before.Dev != after.Dev {
		t.Errorf("the device was %#x, got %#x: cadvisor would not find it", before.Dev, after.Dev)
	}
}

const snippetDir = "../../packaging/containerd/"

func (a assembly) try(t *testing.T, dir string, pool programs.Thinctl, shown, archive, image string) {
	var text strings.Builder
	for _, name := range a.files {
		part, err := os.ReadFile(snippetDir + name)
		check(t, err)
		text.Write(part)
	}
	if strings.Contains(text.String(), "discard_unpacked_layers") {
		t.Error("layers are discarded, although there are two snapshotters")
	}
	file := filepath.Join(dir, "snippet.toml")
	check(t, os.WriteFile(file, []byte(text.String()), 0o600))
	c, err := programs.StartConfigured(t.Context(), dir, file)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of containerd:\n%s", c.Output())
		}
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	check(t, c.AsSystem())
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
	for _, name := range append(a.plugins, "io.containerd.snapshotter.v1 thinctl") {
		if !well[name] {
			t.Errorf("plugin %s: not ok:\n%s", name, plugins)
		}
	}
	// This is the rest of an earlier containerd with another store. Its names could be
	// mistaken for those of the present one.
	do("snapshots", "--snapshotter", "thinctl", "prepare", "clear")
	do("snapshots", "--snapshotter", "thinctl", "rm", "clear")
	do("leases", "create", "--id", "clear")
	do("leases", "rm", "--sync", "clear")
	if left := theirs(t, pool); len(left) > 0 {
		t.Errorf("got %q of the earlier containerd, want none", left)
	}
	committed := func(snapshotter string) bool {
		t.Helper()
		return strings.Contains(do("snapshots", "--snapshotter", snapshotter, "ls"), "Committed")
	}
	runs := func(image string) {
		t.Helper()
		for _, snapshotter := range []string{"overlayfs", "thinctl"} {
			id := "runs-on-" + snapshotter
			if out := do("run", "--rm", "--snapshotter", snapshotter, image, id, "/busybox", "echo", "hello"); out != "hello" {
				t.Errorf("on %s the container printed %q, want hello", snapshotter, out)
			}
		}
	}
	if a.cri != "" {
		k := newKubelet(t, c)
		first, second := a.cri, map[string]string{"overlayfs": "thinctl", "thinctl": "overlayfs"}[a.cri]
		k.pull(t, image, "")
		if !committed(first) || committed(second) {
			t.Errorf("CRI's pull has unpacked for %s: %v, for %s: %v", first, committed(first), second, committed(second))
		}
		if a.other != "" {
			k.pull(t, image, "kata")
			if !committed(a.other) {
				t.Errorf("CRI's pull for the runtime kata has not unpacked for %s", a.other)
			}
		}
		runs(image)
		if a.cri == "thinctl" {
			if got := k.imageFS(t); got != shown {
				t.Errorf("the kubelet reads the free space of %s, want %s", got, shown)
			}
			expectPool(t, shown, pool)
			do("run", "-d", "--snapshotter", "thinctl", image, "fills", "/busybox", "sh", "-c",
				"/busybox dd if=/dev/urandom of=/full bs=1M count=300 && /busybox sync; exec /busybox sleep 100000")
			used := func() int64 {
				space, err := pool.Space(t.Context())
				check(t, err)
				return space.Data.Used
			}
			before := used()
			until(t, "300 MiB written to the pool", 5*time.Minute, func() error {
				if is := used(); is < 300<<20 {
					return fmt.Errorf("used bytes: got %d, want %d", is, before)
				}
				return nil
			})
			expectPool(t, shown, pool)
			do("tasks", "rm", "-f", "fills")
			do("containers", "rm", "fills")
		}
		do("images", "rm", "--sync", image)
	}
	for _, snapshotter := range []string{"overlayfs", "thinctl"} {
		do("images", "import", "--snapshotter", snapshotter, "--base-name", "test.local/snippet", archive)
		if !committed(snapshotter) {
			t.Errorf("nothing was unpacked for %s", snapshotter)
		}
	}
	if a.cri == "" {
		runs(strings.Fields(do("images", "ls", "-q"))[0])
	}
	if len(theirs(t, pool)) == 0 {
		t.Error("got no volume of a containerd in the pool")
	}
}

func theirs(t *testing.T, pool programs.Thinctl) []string {
	t.Helper()
	names, err := pool.OfContainerd(t.Context())
	check(t, err)
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
