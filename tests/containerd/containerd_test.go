//go:build systemd

package containerd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/tests/programs"
)

// TestContainerd runs Debian's containerd and runc on thinctl: import, run, exec, commit,
// remove. The snapshotter is ended and killed while containers run. Many containers run at
// once, and at random. Nothing is left at the end.
func TestContainerd(t *testing.T) {
	f := newFixture(t, "", "--data-size", "12G", "--base-size", "2G")
	before := f.left(t)
	if _, err := f.pool.Do(f.ctx, "volume", "create", f.pool.Pool, "own"); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		do   func(*testing.T)
	}{
		{"import", f.importImage},
		{"run", f.run},
		{"exec while the snapshotter is away", f.away},
		{"commit", f.commit},
		{"at random", f.random},
		{"many at once", f.many},
		{"remove the image", f.removeImage},
	}
	for _, step := range steps {
		began := time.Now()
		if !t.Run(step.name, step.do) {
			t.FailNow()
		}
		t.Logf("%s: %.1f s", step.name, time.Since(began).Seconds())
	}
	if _, err := f.pool.Do(f.ctx, "volume", "remove", f.pool.Pool, "own", "--yes"); err != nil {
		t.Errorf("the user's own volume: %v", err)
	}
	// The template has been made, and stays.
	f.asBefore(t, before, "bytes", "metadata")
}

func (f *fixture) run(t *testing.T) {
	out, err := f.start("--rm", f.image, "once", "/busybox", "sh", "-c",
		"echo it runs; echo written > /file && /busybox cat /file && /busybox df /")
	check(t, err)
	if !strings.Contains(out, "it runs\nwritten") || !strings.Contains(out, "thinctl-vault-containerd") {
		t.Errorf("output of the container: got %q", out)
	}
}

// away keeps a container running while the snapshotter is stopped and killed.
func (f *fixture) away(t *testing.T) {
	f.shell(t, "stays", "exec /busybox sleep 100000")
	exec := func(n, text string) {
		t.Helper()
		out, err := f.exec("stays", "e"+n, "echo "+text+" >> /kept; /busybox cat /kept")
		if err != nil || !strings.HasSuffix(out, text) {
			t.Errorf("exec %s: got %q, %v", n, out, err)
		}
	}
	exec("1", "one")
	check(t, f.s.Stop(f.ctx))
	exec("2", "two")
	if _, err := f.start("--rm", f.image, "refused", "/busybox", "true"); err == nil {
		t.Error("a container was started without its snapshotter")
	}
	f.serve(t)
	check(t, f.s.Kill())
	exec("3", "three")
	f.serve(t) // over the socket that was left
	f.run(t)
	exec("4", "four")
	info := f.do(t, "snapshots", "--snapshotter", "thinctl", "usage", "stays")
	if !strings.Contains(info, "stays") {
		t.Errorf("usage: got %q", info)
	}
	f.kill(t, "stays")
}

// top returns the name of the image's last snapshot.
func (f *fixture) top(t *testing.T) string {
	t.Helper()
	parents, names := map[string]bool{}, []string{}
	for line := range strings.Lines(f.do(t, "snapshots", "--snapshotter", "thinctl", "ls")) {
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
		t.Fatalf("snapshots without children: got %v, want one", names)
	}
	return names[0]
}

func (f *fixture) commit(t *testing.T) {
	snap := func(args ...string) {
		t.Helper()
		f.do(t, append([]string{"snapshots", "--snapshotter", "thinctl"}, args...)...)
	}
	top, target := f.top(t), t.TempDir()
	snap("prepare", "work", top)
	check(t, f.c.Mount(f.ctx, "thinctl", "work", target))
	check(t, os.WriteFile(target+"/mine", []byte("mine"), 0o644))
	_, err := programs.Run(f.ctx, "umount", target)
	check(t, err)
	snap("commit", "done", "work")
	snap("view", "look", "done")
	// ctr does not mark a view as used, so a collection in the meantime would remove it.
	snap("label", "look", "containerd.io/gc.root=test")
	check(t, f.c.Mount(f.ctx, "thinctl", "look", target))
	text, err := os.ReadFile(target + "/mine")
	if err != nil || string(text) != "mine" {
		t.Errorf("the view has %q, %v", text, err)
	}
	if err := os.WriteFile(target+"/mine", nil, 0o644); err == nil {
		t.Error("a view was written to")
	}
	_, err = programs.Run(f.ctx, "umount", target)
	check(t, err)
	if _, err := f.c.Snapshots(f.ctx, "thinctl", "rm", "done"); err == nil {
		t.Error("a snapshot was removed under its view")
	}
	snap("rm", "look")
	snap("rm", "done")
}

// number returns a variable's number, or a default.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// many starts containers concurrently, and ends them concurrently.
func (f *fixture) many(t *testing.T) {
	count := number("THINCTL_CONTAINERS", 8)
	each := func(do func(name string) error) time.Duration {
		var all sync.WaitGroup
		began := time.Now()
		for i := range count {
			all.Go(func() {
				if err := do(fmt.Sprint("many", i)); err != nil {
					t.Errorf("container %d: %v", i, err)
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	c, before := f.client(t), f.left(t)
	took := each(func(name string) error {
		return c.begin(name, "/busybox", "sh", "-c", "echo "+name+" > /own; exec /busybox sleep 100000")
	})
	t.Logf("%d containers started in %.1f s", count, took.Seconds())
	if t.Failed() {
		return
	}
	for i := range count {
		name := fmt.Sprint("many", i)
		until(t, "file of "+name, time.Minute, func() error {
			text, err := os.ReadFile(f.root(t, name) + "/own")
			if err == nil && string(text) != name+"\n" {
				err = fmt.Errorf("it has %q", text)
			}
			return err
		})
	}
	took = each(c.end)
	t.Logf("%d containers killed and removed in %.1f s", count, took.Seconds())
	f.asBefore(t, before, "metadata")
}

func (f *fixture) removeImage(t *testing.T) {
	f.do(t, "images", "rm", "--sync", f.image)
	until(t, "end of the garbage collection", 2*time.Minute, func() error {
		out := f.do(t, "snapshots", "--snapshotter", "thinctl", "ls")
		if strings.Count(out, "\n") > 0 {
			return fmt.Errorf("it has left\n%s", out)
		}
		return nil
	})
}
