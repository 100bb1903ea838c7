//go:build systemd

package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/images/imagetest"
	"thinctl/tests/programs"
)

// imageName is what the archive calls the image; containerd has names of its own
// for what it imports.
const imageName = "test.local/program:1"

const socket = "/run/thinctl-test/snapshotter.sock"

// house is a pool with a snapshotter and a containerd that uses it.
type house struct {
	t    *testing.T
	ctx  context.Context
	dir  string
	pool programs.Thinctl
	s    *programs.Snapshotter
	c    *programs.Containerd

	image string // as containerd calls it
}

// Debian's containerd and runc on thinctl: import, run, exec, commit, remove; the
// snapshotter ended and killed while containers run; many containers at once,
// and at random; in the end nothing is left.
func TestContainerd(t *testing.T) {
	h := newHouse(t)
	before := h.left()
	if _, err := h.pool.Do(h.ctx, "volume", "create", h.pool.Pool, "own"); err != nil {
		t.Fatal(err)
	}
	archive := h.archive()
	steps := []struct {
		name string
		do   func(*testing.T)
	}{
		{"import", func(t *testing.T) {
			h.do(t, "images", "import", "--snapshotter", "thinctl", "--base-name", "test.local/program", archive)
			names := strings.Fields(h.do(t, "images", "ls", "-q"))
			if len(names) != 1 {
				t.Fatalf("the images are %q", names)
			}
			h.image = names[0]
			t.Logf("imported as %s", h.image)
		}},
		{"run", h.run},
		{"exec while the snapshotter is away", h.exec},
		{"commit", h.commit},
		{"many at once", h.many},
		{"at random", h.random},
		{"remove the image", h.removeImage},
	}
	for _, step := range steps {
		began := time.Now()
		if !t.Run(step.name, step.do) {
			t.Fatalf("containerd said:\n%s\nthe snapshotter said:\n%s", h.c.Said(), h.s.Said())
		}
		t.Logf("%s: %.1f s", step.name, time.Since(began).Seconds())
	}
	if _, err := h.pool.Do(h.ctx, "volume", "remove", h.pool.Pool, "own", "--yes"); err != nil {
		t.Errorf("the user's own volume: %v", err)
	}
	if _, err := h.pool.Do(h.ctx, "pool", "check", h.pool.Pool); err != nil {
		t.Error(err)
	}
	after := h.left()
	for what, n := range after {
		if n != before[what] {
			t.Errorf("%s: %d at first, %d at the end", what, before[what], n)
		}
	}
	t.Logf("left: %v", after)
}

func newHouse(t *testing.T) *house {
	t.Helper()
	if os.Getenv("THINCTL_LAB") == "" {
		t.Fatal(`run it as go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./tests/containerd`)
	}
	dir, err := os.MkdirTemp("", "containerd-")
	check(t, err)
	h := &house{t: t, ctx: t.Context(), dir: dir, pool: programs.Thinctl{Root: dir + "/pools", Pool: "vault"}}
	check(t, h.pool.Create(h.ctx, "--data-size", "12G", "--base-size", "2G"))
	h.serve(t)
	h.c, err = programs.StartProxied(h.ctx, dir, map[string]string{"thinctl": socket})
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := errors.Join(h.c.Stop(ctx), h.s.Stop(ctx), h.pool.Destroy(ctx)); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) serve(t *testing.T) {
	t.Helper()
	var err error
	h.s, err = programs.StartSnapshotter(h.ctx, h.pool, h.dir, map[string]string{"test": socket})
	check(t, err)
	// containerd tries a lost connection again after some seconds, and fails what is
	// asked of it until then.
	deadline := time.Now().Add(time.Minute)
	for h.c != nil {
		_, err := h.c.Snapshots(h.ctx, "thinctl", "ls")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive is an image of a program and some layers more.
func (h *house) archive() string {
	busybox, err := os.ReadFile("/bin/busybox")
	check(h.t, err)
	image := imagetest.Program(imageName, "/busybox", busybox)
	for n := range 5 {
		image.Layers = append(image.Layers, imagetest.Plain(fmt.Sprint("more", n), 4<<20, uint64(n)).Layers...)
	}
	built, err := imagetest.Build(image)
	check(h.t, err)
	path := filepath.Join(h.dir, "image.tar")
	file, err := os.Create(path)
	check(h.t, err)
	check(h.t, errors.Join(imagetest.WriteOCI(file, imagetest.Gzip, built), file.Close()))
	return path
}

func (h *house) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.c.Do(h.ctx, args...)
	if err != nil {
		t.Fatalf("ctr %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (h *house) start(args ...string) (string, error) {
	return h.c.Do(h.ctx, append([]string{"run", "--snapshotter", "thinctl"}, args...)...)
}

func (h *house) run(t *testing.T) {
	out, err := h.start("--rm", h.image, "once", "/busybox", "sh", "-c", "echo it runs; echo written > /file && /busybox cat /file && /busybox df /")
	check(t, err)
	if !strings.Contains(out, "it runs\nwritten") || !strings.Contains(out, "thinctl-vault-containerd") {
		t.Errorf("the container said %q", out)
	}
}

// exec keeps a container running over the snapshotter's end and death.
func (h *house) exec(t *testing.T) {
	_, err := h.start("-d", h.image, "stays", "/busybox", "sleep", "100000")
	check(t, err)
	exec := func(n, text string) {
		t.Helper()
		out := h.do(t, "tasks", "exec", "--exec-id", "e"+n, "stays", "/busybox", "sh", "-c", "echo "+text+" >> /kept; /busybox cat /kept")
		if !strings.HasSuffix(out, text) {
			t.Errorf("exec %s said %q", n, out)
		}
	}
	exec("1", "one")
	check(t, h.s.Stop(h.ctx))
	exec("2", "two")
	if _, err := h.start("--rm", h.image, "refused", "/busybox", "true"); err == nil {
		t.Error("a container was started without its snapshotter")
	}
	h.serve(t)
	check(t, h.s.Kill())
	exec("3", "three")
	h.serve(t) // over the socket that was left
	h.run(t)
	exec("4", "four")
	info := h.do(t, "snapshots", "--snapshotter", "thinctl", "usage", "stays")
	if !strings.Contains(info, "stays") {
		t.Errorf("usage says %q", info)
	}
	h.do(t, "tasks", "kill", "--signal", "SIGKILL", "stays")
	h.remove(t, "stays")
}

// remove waits until a container's process has ended.
func (h *house) remove(t *testing.T, name string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := h.c.Do(h.ctx, "tasks", "rm", name)
		if err == nil || strings.Contains(err.Error(), "not found") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.do(t, "containers", "rm", name)
}

// top is the name of the image's last snapshot.
func (h *house) top(t *testing.T) string {
	t.Helper()
	parents, names := map[string]bool{}, []string{}
	for line := range strings.Lines(h.do(t, "snapshots", "--snapshotter", "thinctl", "ls")) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[len(fields)-1] != "Committed" {
			continue
		}
		names = append(names, fields[0])
		if len(fields) == 3 {
			parents[fields[1]] = true
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return parents[name] })
	if len(names) != 1 {
		t.Fatalf("these are nobody's parents: %v", names)
	}
	return names[0]
}

func (h *house) commit(t *testing.T) {
	snap := func(args ...string) string {
		t.Helper()
		return h.do(t, append([]string{"snapshots", "--snapshotter", "thinctl"}, args...)...)
	}
	top, target := h.top(t), t.TempDir()
	snap("prepare", "work", top)
	check(t, h.c.Mount(h.ctx, "thinctl", "work", target))
	check(t, os.WriteFile(target+"/mine", []byte("mine"), 0o644))
	_, err := programs.Run(h.ctx, "umount", target)
	check(t, err)
	snap("commit", "done", "work")
	line := snap("view", "look", "done")
	_ = line
	check(t, h.c.Mount(h.ctx, "thinctl", "look", target))
	text, err := os.ReadFile(target + "/mine")
	if err != nil || string(text) != "mine" {
		t.Errorf("the view has %q, %v", text, err)
	}
	if err := os.WriteFile(target+"/mine", nil, 0o644); err == nil {
		t.Error("a view was written to")
	}
	_, err = programs.Run(h.ctx, "umount", target)
	check(t, err)
	if _, err := h.c.Snapshots(h.ctx, "thinctl", "rm", "done"); err == nil {
		t.Error("a snapshot was removed under its view")
	}
	snap("rm", "look")
	snap("rm", "done")
}

// howMany containers the tests start at once.
func howMany() int {
	if n, err := strconv.Atoi(os.Getenv("THINCTL_CONTAINERS")); err == nil {
		return n
	}
	return 8
}

func (h *house) many(t *testing.T) {
	var all sync.WaitGroup
	began := time.Now()
	for i := range howMany() {
		all.Go(func() {
			name := fmt.Sprint("many", i)
			if _, err := h.start("-d", h.image, name, "/busybox", "sh", "-c", "echo $$ > /own; exec /busybox sleep 100000"); err != nil {
				t.Errorf("container %d: %v", i, err)
			}
		})
	}
	all.Wait()
	t.Logf("%d containers started in %.1f s", howMany(), time.Since(began).Seconds())
	if t.Failed() {
		return
	}
	for i := range howMany() {
		all.Go(func() {
			name := fmt.Sprint("many", i)
			if _, err := h.c.Do(h.ctx, "tasks", "kill", "--signal", "SIGKILL", name); err != nil {
				t.Error(err)
				return
			}
			h.remove(t, name)
		})
	}
	all.Wait()
}

// random makes and ends containers in rounds, the snapshotter killed in between.
func (h *house) random(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("THINCTL_ROUNDS")); err == nil {
		rounds = n
	}
	dice := rand.New(rand.NewPCG(1, 6))
	for n := range rounds {
		name := fmt.Sprint("r", n)
		switch dice.IntN(4) {
		case 0:
			_, err := h.start("--rm", h.image, name, "/busybox", "dd", "if=/dev/zero", "of=/f", "bs=1M", "count="+fmt.Sprint(dice.IntN(8)))
			check(t, err)
		case 1: // made and never started
			h.do(t, "containers", "create", "--snapshotter", "thinctl", h.image, name)
			h.do(t, "containers", "rm", name)
		case 2: // removed while it runs, and killed after
			_, err := h.start("-d", h.image, name, "/busybox", "sleep", "100000")
			check(t, err)
			if dice.IntN(2) == 0 {
				check(t, h.s.Kill())
				h.serve(t)
			}
			h.do(t, "tasks", "kill", "--signal", "SIGKILL", name)
			h.remove(t, name)
		case 3: // many snapshots of the top
			key, top := "k"+name, h.top(t)
			h.do(t, "snapshots", "--snapshotter", "thinctl", "prepare", key, top)
			h.do(t, "snapshots", "--snapshotter", "thinctl", "rm", key)
		}
	}
}

func (h *house) removeImage(t *testing.T) {
	h.do(t, "images", "rm", "--sync", h.image)
	deadline := time.Now().Add(2 * time.Minute)
	for {
		out := h.do(t, "snapshots", "--snapshotter", "thinctl", "ls")
		if strings.Count(out, "\n") == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the garbage collector has left\n%s", out)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// left counts what tests may leave behind.
func (h *house) left() map[string]int {
	h.t.Helper()
	count := map[string]int{}
	lines := func(name, program string, args ...string) {
		out, err := programs.Run(h.ctx, program, args...)
		check(h.t, err)
		for line := range strings.Lines(out) {
			if strings.Contains(line, "thinctl") || strings.Contains(line, h.dir) {
				count[name]++
			}
		}
	}
	// Blocks come back in the background.
	deadline := time.Now().Add(time.Minute)
	for {
		var report struct {
			Pools []struct {
				Findings []json.RawMessage `json:"findings"`
			} `json:"pools"`
		}
		check(h.t, h.pool.JSON(h.ctx, &report, "pool", "check", h.pool.Pool))
		count["findings"] = 0
		for _, pool := range report.Pools {
			count["findings"] += len(pool.Findings)
		}
		if count["findings"] == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	lines("devices", "dmsetup", "ls")
	lines("mounts", "cat", "/proc/self/mounts")
	lines("loops", "losetup", "--list", "--noheadings")
	var volumes struct {
		Volumes []struct {
			Volume string `json:"volume"`
		} `json:"volumes"`
	}
	check(h.t, h.pool.JSON(h.ctx, &volumes, "pool", "usage", h.pool.Pool))
	for _, v := range volumes.Volumes {
		if !strings.HasPrefix(v.Volume, "template-") {
			count["volumes"]++
		}
	}
	return count
}
