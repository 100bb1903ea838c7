//go:build kernel

package containerd

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	core "github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"thinctl/dm"
	"thinctl/internal/containerd"
	"thinctl/loopback"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/units"
)

// containerd's clients reach the snapshotter through a socket, thinctl's own packages in
// process: the suite runs both ways.
func TestConformanceExt4(t *testing.T)      { conformance(t, filesystem.Ext4, served) }
func TestConformanceXFS(t *testing.T)       { conformance(t, filesystem.XFS, served) }
func TestConformanceInProcess(t *testing.T) { conformance(t, filesystem.Ext4, inProcess) }

type transport string

const (
	served    transport = "served"
	inProcess transport = "in-process"
)

// conformance runs the suite and then looks for what it has left.
func conformance(t *testing.T, fs filesystem.Type, how transport) {
	t.Parallel()
	f := &suiteFixture{t: t, fs: fs, pool: newPool(t, "suite-"+string(fs)+"-"+string(how)), spent: map[string]spent{}}
	factory := f.serve
	if how == inProcess {
		factory = f.direct
	}
	t.Run("suite", func(t *testing.T) {
		testsuite.SnapshotterSuite(t, "thinctl", factory)
	})
	if f.opened.Load() == 0 && whole() {
		t.Error("got no request of the suite for a snapshotter, want one for each of its tests")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	last := f.open(t, "last")
	defer last.Close()
	if err := last.Cleanup(ctx); err != nil {
		t.Error(err)
	}
	found, err := last.Check(ctx)
	if err != nil || len(found) != 0 {
		t.Errorf("documents and volumes do not agree: got %v, %v, want no findings", found, err)
	}
	report, err := f.pool.Check(ctx)
	if err != nil || len(report.Findings) != 0 {
		t.Errorf("check of the pool: got %+v, %v, want no findings", report.Findings, err)
	}
	volumes, err := f.pool.Volumes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes {
		if v.For != "template" || v.Active {
			t.Errorf("volume %s is left, active: %t", v.Name, v.Active)
		}
	}
	status, err := f.pool.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("transactions: %d, data used at the end: %s, tombstones: %d", status.Kernel.TransactionID, status.Data.Used,
		status.Tombstones)
	for method, one := range f.spent {
		t.Logf("%s: %d, %s on average, %s at most", method, one.n, (one.all / time.Duration(one.n)).Round(time.Millisecond),
			one.most.Round(time.Millisecond))
	}
	if status.Tombstones != 0 {
		t.Errorf("got %d tombstones, want none", status.Tombstones)
	}
}

// whole reports whether all tests were chosen.
func whole() bool {
	return flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""
}

// suiteFixture is a pool and its snapshotters, each in a namespace of its own.
type suiteFixture struct {
	t      *testing.T
	fs     filesystem.Type
	pool   *thinpool.Pool
	opened atomic.Int32 // number of snapshotters

	mu    sync.Mutex
	spent map[string]spent // by method
}

// spent is the time that requests took.
type spent struct {
	n    int
	all  time.Duration
	most time.Duration
}

func (f *suiteFixture) observe(method string) (ended func(string)) {
	began := time.Now()
	return func(string) {
		took := time.Since(began)
		f.mu.Lock()
		defer f.mu.Unlock()
		one := f.spent[method]
		f.spent[method] = spent{one.n + 1, one.all + took, max(one.most, took)}
	}
}

func newPool(t *testing.T, name string) *thinpool.Pool {
	t.Helper()
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatalf("these tests need a kernel with device mapper, as root; the lab's guest has one: %v", err)
	}
	loops := loopback.New(loopback.Options{})
	t.Cleanup(func() { kernel.Close(); loops.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	host := thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{}}
	pool, err := thinpool.Create(ctx, host, t.TempDir(), name,
		thinpool.CreateOptions{DataSize: 8 * units.GiB, BaseSize: units.GiB})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if err := errors.Join(pool.Deactivate(ctx), pool.Destroy(ctx), pool.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return pool
}

func (f *suiteFixture) open(t *testing.T, namespace string) *snapshots.Snapshotter {
	t.Helper()
	snapshotter, err := snapshots.New(f.pool, filesystem.Local{}, snapshots.Options{Namespace: namespace, FS: f.fs})
	if err != nil {
		t.Fatal(err)
	}
	return snapshotter
}

// direct opens a namespace and returns its snapshotter.
func (f *suiteFixture) direct(context.Context, string) (core.Snapshotter, func() error, error) {
	s := f.open(f.t, fmt.Sprintf("suite%d", f.opened.Add(1)))
	return s, func() error {
		return errors.Join(removeAll(s), s.Cleanup(context.Background()), s.Close())
	}, nil
}

// serve serves a namespace and returns containerd's own client of it.
func (f *suiteFixture) serve(context.Context, string) (core.Snapshotter, func() error, error) {
	backend := f.open(f.t, fmt.Sprintf("suite%d", f.opened.Add(1)))
	dir, err := os.MkdirTemp("/tmp", "s") // a socket's path must be short
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "run", "thinctl.sock")
	listener, err := containerd.Listen(path)
	if err != nil {
		return nil, nil, err
	}
	serving, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- containerd.Serve(serving, listener, backend, containerd.ServeOptions{Observe: f.observe})
	}()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		stop()
		return nil, nil, errors.Join(err, <-ended)
	}
	client := proxy.NewSnapshotter(api.NewSnapshotsClient(conn), "thinctl")
	return client, func() error {
		err := removeAll(client)
		err = errors.Join(err, client.(core.Cleaner).Cleanup(context.Background()), conn.Close())
		stop()
		return errors.Join(err, <-ended, backend.Close(), os.RemoveAll(dir))
	}, nil
}

// removeAll removes what a test has left, children first, as containerd's garbage
// collector does.
func removeAll(s core.Snapshotter) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	parents := map[string]string{}
	err := s.Walk(ctx, func(_ context.Context, info core.Info) error {
		parents[info.Name] = info.Parent
		return nil
	})
	if err != nil {
		return err
	}
	depth := func(name string) (d int) {
		for ; parents[name] != ""; d++ {
			name = parents[name]
		}
		return d
	}
	names := slices.SortedFunc(maps.Keys(parents), func(a, b string) int { return cmp.Compare(depth(b), depth(a)) })
	for _, name := range names {
		if err := s.Remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
