package differ

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	leaseapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/proxy"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/services/content/contentserver"
	"github.com/containerd/errdefs/pkg/errgrpc"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// fixture is a pool in memory with a differ, and containerd's own metadata and content
// stores behind a socket.
type fixture struct {
	*snapshotstest.Fixture
	ctx    context.Context // in containerd's namespace "test"
	pool   *thinpool.Pool
	s      *snapshots.Snapshotter
	db     *metadata.DB
	store  content.Store // as containerd sees it
	differ proxied
	ready  error
}

// proxied is a differ behind containerd's own client.
type proxied interface {
	diff.Comparer
	diff.Applier
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	f := &fixture{Fixture: snapshotstest.New(t), ctx: namespaces.WithNamespace(ctx, "test")}
	_, err := thinpool.Create(ctx, f.Host(), f.Root, "vault", thinpooltest.SmallPool())
	check(t, err)
	f.pool, err = thinpool.Open(ctx, f.Host(), f.Root, "vault")
	check(t, err)
	f.s, err = snapshots.New(f.pool, f.Files, snapshots.Options{})
	check(t, err)
	t.Cleanup(func() { f.s.Close() })
	address := f.containerd(t)
	d, err := New(f.s, Options{Containerd: address, Ready: func() error { return f.ready }})
	check(t, err)
	t.Cleanup(func() { check(t, d.Close()) })
	f.differ = proxyOf(t, d)
	return f
}

func proxyOf(t *testing.T, d *Differ) proxied {
	t.Helper()
	return proxy.NewDiffApplier(diffapi.NewDiffClient(serve(t, d.Register))).(proxied)
}

// containerd serves content and leases, and returns the address.
func (f *fixture) containerd(t *testing.T) string {
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, nil)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	files, err := local.NewStore(filepath.Join(dir, "content"))
	check(t, err)
	f.db = metadata.NewDB(db, files, nil)
	check(t, f.db.Init(f.ctx))
	f.store = f.db.ContentStore()
	return listen(t, func(to grpc.ServiceRegistrar) {
		contentapi.RegisterContentServer(to, contentserver.New(f.store))
		leaseapi.RegisterLeasesServer(to, leaseServer{manager: metadata.NewLeaseManager(f.db)})
	})
}

// leaseServer is the part of containerd's leases service that is used.
type leaseServer struct {
	leaseapi.UnimplementedLeasesServer
	manager leases.Manager
}

func (l leaseServer) Create(ctx context.Context, q *leaseapi.CreateRequest) (*leaseapi.CreateResponse, error) {
	_, err := l.manager.Create(ctx, leases.WithID(q.GetID()), leases.WithLabels(q.GetLabels()))
	return &leaseapi.CreateResponse{Lease: &leaseapi.Lease{ID: q.GetID()}}, errgrpc.ToGRPC(err)
}

func (l leaseServer) Delete(ctx context.Context, q *leaseapi.DeleteRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, errgrpc.ToGRPC(l.manager.Delete(ctx, leases.Lease{ID: q.GetID()}))
}

// listen serves services on a socket.
func listen(t *testing.T, register func(grpc.ServiceRegistrar)) (address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "differ-") // a socket's path is short
	check(t, err)
	address = filepath.Join(dir, "s")
	on, err := net.Listen("unix", address)
	check(t, err)
	server := grpc.NewServer()
	register(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(on) }()
	t.Cleanup(func() {
		server.Stop()
		check(t, <-ended)
		check(t, os.RemoveAll(dir))
	})
	return address
}

func serve(t *testing.T, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+listen(t, register), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	t.Cleanup(func() { check(t, conn.Close()) })
	return conn
}

// running makes a mounted container of a layer with a file "a". The container has a file
// "b" that is not written to the device.
func (f *fixture) running(t *testing.T) (lower, upper []mount.Mount, root string) {
	t.Helper()
	extract, err := f.s.Prepare(f.ctx, "extract", "")
	check(t, err)
	root = filepath.Join(t.TempDir(), "root")
	check(t, os.Mkdir(root, 0o755))
	check(t, f.Files.Mount(f.ctx, extract[0].Source, root, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, os.WriteFile(filepath.Join(root, "a"), []byte("a"), 0o644))
	check(t, f.Files.Unmount(f.ctx, root, filesystem.UnmountOptions{}))
	check(t, f.s.Commit(f.ctx, "layer", "extract"))
	web, err := f.s.Prepare(f.ctx, "web", "layer")
	check(t, err)
	check(t, f.Files.Mount(f.ctx, web[0].Source, root, filesystem.MountOptions{Type: filesystem.Ext4}))
	t.Cleanup(func() { check(t, f.Files.Unmount(context.Background(), root, filesystem.UnmountOptions{})) })
	check(t, os.WriteFile(filepath.Join(root, "b"), []byte("b"), 0o644))
	view, err := f.s.View(f.ctx, "layer-view", "layer")
	check(t, err)
	return mounts(view), mounts(web), root
}

func mounts(all []mount.Mount) (converted []mount.Mount) {
	for _, m := range all {
		converted = append(converted, mount.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return converted
}

// left reports what remains after a difference: temporary volumes, mounts and unfinished
// writes.
func (f *fixture) left(t *testing.T, mounted int) {
	t.Helper()
	volumes, err := f.pool.Volumes(f.ctx)
	check(t, err)
	for _, v := range volumes {
		if v.For == "work" {
			t.Errorf("got the volume %s, want none left", v.Name)
		}
	}
	if targets := f.Files.Targets(); len(targets) != mounted {
		t.Errorf("got %d mounts, want %d: %q", len(targets), mounted, targets)
	}
	writes, err := f.store.ListStatuses(f.ctx)
	check(t, err)
	if len(writes) != 0 {
		t.Errorf("got the unfinished writes %v, want none", writes)
	}
	check(t, f.s.Cleanup(f.ctx))
	report, err := f.pool.Check(f.ctx)
	check(t, err)
	for _, finding := range report.Findings {
		t.Errorf("got the finding %+v of the pool's check, want none", finding)
	}
}
