package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"thinctl/internal/cli/exit"
	"thinctl/internal/testkit/snapshotstest"
)

// containerds are several containerds that use the snapshotters of a daemon.
type containerds struct {
	*service
	dir string // of the sockets
}

func containerdTest(t *testing.T) *containerds {
	t.Helper()
	s := serveTest(t, "")
	fixture := snapshotstest.New(t)
	fixture.Space = plentyOfSpace
	host := &fakeHost{kernel: fixture.Kernel, loops: fixture.Loops, fixture: fixture}
	s.app.OpenHost, s.app.Files = host.open, fixtureFiles{fixture.Files}
	dir, err := os.MkdirTemp("", "s") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("THINCTL_ROOT", fixture.Root)
	return &containerds{service: s, dir: dir}
}

func (c *containerds) socket(name string) string { return filepath.Join(c.dir, "run", name) }

// table returns the table of a containerd in the configuration.
func (c *containerds) table(name, pool, more string) string {
	return fmt.Sprintf("[containerd.%s]\npool = %q\nsocket = %q\n%s", name, pool, c.socket(name), more)
}

func (c *containerds) client(name string) api.SnapshotsClient {
	c.Helper()
	conn, err := grpc.NewClient("unix:"+c.socket(name), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { conn.Close() })
	return api.NewSnapshotsClient(conn)
}

func (c *containerds) prepare(name, key string) error {
	_, err := c.client(name).Prepare(c.Context(), &api.PrepareSnapshotRequest{Key: key}, grpc.WaitForReady(true))
	return err
}

// keys returns the snapshots that a containerd sees.
func (c *containerds) keys(name string) (keys []string) {
	c.Helper()
	list, err := c.client(name).List(c.Context(), &api.ListSnapshotsRequest{})
	for err == nil {
		var block *api.ListSnapshotsResponse
		if block, err = list.Recv(); err == nil {
			for _, info := range block.GetInfo() {
				keys = append(keys, info.GetName())
			}
		}
	}
	if len(keys) == 0 && status.Code(err) == codes.Unavailable {
		c.Error(err)
	}
	return keys
}

func (c *containerds) reload(tables string) {
	c.Helper()
	c.configure(tables)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		c.Fatal(err)
	}
	c.waitFor("RELOADING=1")
	c.waitFor("READY=1")
}

// until waits for a state that the daemon reaches without a request.
func (c *containerds) until(what string, is func() bool) {
	c.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			c.Fatalf("%s did not happen in time\n%s", what, c.errs.String())
		}
		wait, cancel := context.WithTimeout(c.Context(), 50*time.Millisecond)
		<-wait.Done()
		cancel()
	}
}

func (c *containerds) metric(line string) bool {
	_, body := c.get("/metrics")
	return strings.Contains(body, line+"\n")
}

func (c *containerds) finish() {
	c.Helper()
	c.end(exit.ErrInterrupted)
	if code := <-c.code; code != 0 {
		c.Errorf("exit code %d:\n%s", code, c.errs.String())
	}
}

// TestServeContainerds serves several containerds in several pools, each with its own snapshots.
// They work when the daemon is ready. A reload affects only the tables that changed.
func TestServeContainerds(t *testing.T) {
	c := containerdTest(t)
	for _, pool := range []string{"vault", "slow"} {
		c.do("pool create " + pool + " --data-size 64M --metadata-size 4M --base-size 16M")
	}
	k8s, docker := c.table("k8s", "vault", ""), c.table("docker", "vault", "")
	c.configure(k8s + docker + c.table("firecracker", "slow", "namespace = \"fc\"\n"))
	c.start()
	c.waitFor("READY=1")
	for name, mode := range map[string]os.FileMode{filepath.Join(c.dir, "run"): 0o700, c.socket("k8s"): 0o600, c.socket("firecracker"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, name := range []string{"k8s", "docker", "firecracker"} {
		if err := c.prepare(name, "of "+name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if keys := c.keys(name); !slices.Equal(keys, []string{"of " + name}) {
			t.Errorf("%s sees %q", name, keys)
		}
	}
	if err := c.prepare("k8s", "of k8s"); status.Code(err) != codes.AlreadyExists {
		t.Errorf("twice: %v", err)
	}
	for _, line := range []string{`thinctl_snapshotter_ready{pool="vault",snapshotter="k8s"} 1`, `thinctl_snapshotter_ready{pool="slow",snapshotter="firecracker"} 1`,
		`thinctl_snapshotter_requests_total{grpc_code="OK",method="Prepare",snapshotter="k8s"} 1`, `thinctl_snapshotter_in_flight_requests{snapshotter="k8s"} 0`,
		`thinctl_snapshotter_requests_total{grpc_code="AlreadyExists",method="Prepare",snapshotter="k8s"} 1`,
		`thinctl_snapshotter_request_duration_seconds_count{method="Prepare",snapshotter="k8s"} 2`} {
		if !c.metric(line) {
			t.Errorf("no %s", line)
		}
	}
	// docker is removed, firecracker moves to the pool of k8s, other is added, and k8s is
	// unchanged.
	stays := c.client("k8s")
	if _, err := stays.Stat(t.Context(), &api.StatSnapshotRequest{Key: "of k8s"}); err != nil {
		t.Fatal(err)
	}
	c.reload(k8s + c.table("firecracker", "vault", "") + c.table("new", "slow", "namespace = \"fc\"\n"))
	c.until("the new one", func() bool { return c.metric(`thinctl_snapshotter_ready{pool="slow",snapshotter="new"} 1`) })
	c.until("the one that moves", func() bool { return c.metric(`thinctl_snapshotter_ready{pool="vault",snapshotter="firecracker"} 1`) })
	if keys := c.keys("new"); !slices.Equal(keys, []string{"of firecracker"}) {
		t.Errorf("snapshots of the namespace's new owner: got %q, want those of firecracker", keys)
	}
	if keys := c.keys("firecracker"); len(keys) != 0 {
		t.Errorf("snapshots in the new pool: got %q, want none", keys)
	}
	if _, err := os.Lstat(c.socket("docker")); err == nil {
		t.Error("got the socket of a removed snapshotter, want it removed")
	}
	if _, body := c.get("/metrics"); strings.Contains(body, `"docker"`) {
		t.Error("there are metrics of one that is gone")
	}
	if _, err := stays.Stat(t.Context(), &api.StatSnapshotRequest{Key: "of k8s"}); err != nil {
		t.Errorf("one that stays has lost its connection: %v", err)
	}
	if n := strings.Count(c.errs.String(), "snapshotter=k8s pool=vault socket="); n != 1 {
		t.Errorf("k8s was begun with %d times\n%s", n, c.errs.String())
	}
	// A configuration with faults is ignored.
	c.configure(k8s + c.table("other", "vault", "socket = \"x\"\n"))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.waitFor("READY=1\nSTATUS=the configuration has errors")
	if keys := c.keys("new"); len(keys) != 1 {
		t.Errorf("after a reload with faults: %q", keys)
	}
	c.finish()
	for _, name := range []string{"k8s", "firecracker", "new"} {
		if _, err := os.Lstat(c.socket(name)); err == nil {
			t.Errorf("the socket of %s is left", name)
		}
	}
}

// TestServeContainerdInTrouble checks pools that are missing, deactivated or replaced, and a
// socket in use. The daemon serves the others, and these as soon as it can.
func TestServeContainerdInTrouble(t *testing.T) {
	c := containerdTest(t)
	create := func(pool string) { c.do("pool create " + pool + " --data-size 64M --metadata-size 4M --base-size 16M") }
	create("vault")
	create("off")
	c.do("pool deactivate off")
	if err := os.Mkdir(filepath.Join(c.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	theirs, err := net.Listen("unix", c.socket("taken"))
	if err != nil {
		t.Fatal(err)
	}
	// A killed daemon leaves its socket.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.socket("good"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	c.configure("interval = \"1s\"\n" + c.table("good", "vault", "") + c.table("taken", "vault", "") + c.table("late", "late", "") + c.table("off", "off", ""))
	c.start()
	c.waitFor("READY=1")
	if err := c.prepare("good", "one"); err != nil {
		t.Error(err)
	}
	if err := c.prepare("off", "one"); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "pool off is not ready for containerd") ||
		!strings.Contains(err.Error(), "thinctl pool activate off") {
		t.Errorf("in a pool that was deactivated: %v", err)
	}
	for _, line := range []string{`thinctl_snapshotter_ready{pool="vault",snapshotter="taken"} 0`, `thinctl_snapshotter_ready{pool="late",snapshotter="late"} 0`,
		`thinctl_snapshotter_ready{pool="off",snapshotter="off"} 0`, `thinctl_snapshotter_requests_total{grpc_code="Unavailable",method="Prepare",snapshotter="off"} 1`} {
		if !c.metric(line) {
			t.Errorf("no %s", line)
		}
	}
	for _, text := range []string{"another process serves it", "not found: no pool in "} {
		if !strings.Contains(c.errs.String(), text) {
			t.Errorf("got a log without %q:\n%s", text, c.errs.String())
		}
	}
	theirs.Close()
	create("late")
	c.do("pool activate off")
	for name, pool := range map[string]string{"taken": "vault", "late": "late", "off": "off"} {
		c.until(name, func() bool {
			return c.metric(fmt.Sprintf("thinctl_snapshotter_ready{pool=%q,snapshotter=%q} 1", pool, name))
		})
		if err := c.prepare(name, "one"); err != nil {
			t.Errorf("%s, once it can be: %v", name, err)
		}
	}
	// Its socket was removed.
	if err := os.Remove(c.socket("taken")); err != nil {
		t.Fatal(err)
	}
	c.until("a new socket", func() bool { _, err := os.Lstat(c.socket("taken")); return err == nil })
	// The socket exists before the snapshotter is ready.
	c.until("a snapshot over the new socket", func() bool { return c.prepare("taken", "two") == nil })
	// A new pool has the same name.
	if _, err := c.client("late").Remove(t.Context(), &api.RemoveSnapshotRequest{Key: "one"}); err != nil {
		t.Fatal(err)
	}
	c.do("pool destroy late --yes")
	create("late")
	c.until("the other pool", func() bool {
		err := c.prepare("late", "one")
		return err == nil || status.Code(err) == codes.AlreadyExists
	})
	c.finish()
}
