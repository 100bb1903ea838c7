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

	"thinctl/internal/containerd"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// stage is a pool in memory with a differ, and containerd's own metadata and content
// behind a socket.
type stage struct {
	*snapshotstest.World
	ctx    context.Context // in containerd's namespace "test"
	pool   *thinpool.Pool
	s      *containerd.Snapshotter
	db     *metadata.DB
	store  content.Store // as containerd sees it
	differ proxied
	ready  error
}

// proxied is containerd's own client of a differ.
type proxied interface {
	diff.Comparer
	diff.Applier
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	st := &stage{World: snapshotstest.New(t), ctx: namespaces.WithNamespace(ctx, "test")}
	_, err := thinpool.Create(ctx, st.Host(), st.Root, "vault", thinpooltest.SmallPool())
	check(t, err)
	st.pool, err = thinpool.Open(ctx, st.Host(), st.Root, "vault")
	check(t, err)
	st.s, err = containerd.New(st.pool, st.Files, containerd.Options{})
	check(t, err)
	t.Cleanup(func() { st.s.Close() })
	address := st.containerd(t)
	d, err := New(st.s, Options{Containerd: address, Ready: func() error { return st.ready }})
	check(t, err)
	t.Cleanup(func() { check(t, d.Close()) })
	st.differ = proxyOf(t, d)
	return st
}

func proxyOf(t *testing.T, d *Differ) proxied {
	t.Helper()
	return proxy.NewDiffApplier(diffapi.NewDiffClient(serve(t, d.Register))).(proxied)
}

// containerd serves content and leases, and returns its address.
func (st *stage) containerd(t *testing.T) string {
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, "meta.db"), 0o600, nil)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	files, err := local.NewStore(filepath.Join(dir, "content"))
	check(t, err)
	st.db = metadata.NewDB(db, files, nil)
	check(t, st.db.Init(st.ctx))
	st.store = st.db.ContentStore()
	return listen(t, func(to grpc.ServiceRegistrar) {
		contentapi.RegisterContentServer(to, contentserver.New(st.store))
		leaseapi.RegisterLeasesServer(to, leaseServer{manager: metadata.NewLeaseManager(st.db)})
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

// running is a container of a layer that has a file "a": it is mounted, and has a file
// "b" that is not written out.
func (st *stage) running(t *testing.T) (lower, upper []mount.Mount, root string) {
	t.Helper()
	extract, err := st.s.Prepare(st.ctx, "extract", "", nil)
	check(t, err)
	root = filepath.Join(t.TempDir(), "root")
	check(t, os.Mkdir(root, 0o755))
	check(t, st.Files.Mount(st.ctx, extract[0].Source, root, filesystem.MountOptions{Type: filesystem.Ext4}))
	check(t, os.WriteFile(filepath.Join(root, "a"), []byte("a"), 0o644))
	check(t, st.Files.Unmount(st.ctx, root, filesystem.UnmountOptions{}))
	check(t, st.s.Commit(st.ctx, "layer", "extract", nil))
	web, err := st.s.Prepare(st.ctx, "web", "layer", nil)
	check(t, err)
	check(t, st.Files.Mount(st.ctx, web[0].Source, root, filesystem.MountOptions{Type: filesystem.Ext4}))
	t.Cleanup(func() { check(t, st.Files.Unmount(context.Background(), root, filesystem.UnmountOptions{})) })
	check(t, os.WriteFile(filepath.Join(root, "b"), []byte("b"), 0o644))
	view, err := st.s.View(st.ctx, "layer-view", "layer", nil)
	check(t, err)
	return mounts(view), mounts(web), root
}

func mounts(all []containerd.Mount) (converted []mount.Mount) {
	for _, m := range all {
		converted = append(converted, mount.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return converted
}

// left tells of what a difference has left: volumes for work, mounts, unfinished writes.
func (st *stage) left(t *testing.T, mounted int) {
	t.Helper()
	volumes, err := st.pool.Volumes(st.ctx)
	check(t, err)
	for _, v := range volumes {
		if v.For == "work" {
			t.Errorf("volume %s is left", v.Name)
		}
	}
	if targets := st.Files.Targets(); len(targets) != mounted {
		t.Errorf("%d mounts are left, want %d: %q", len(targets), mounted, targets)
	}
	writes, err := st.store.ListStatuses(st.ctx)
	check(t, err)
	if len(writes) != 0 {
		t.Errorf("unfinished writes are left: %v", writes)
	}
	check(t, st.s.Cleanup(st.ctx))
	report, err := st.pool.Check(st.ctx)
	check(t, err)
	for _, finding := range report.Findings {
		t.Errorf("the pool's check finds %+v", finding)
	}
}
