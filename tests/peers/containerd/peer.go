package main

import (
	"context"
	"fmt"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	diff "github.com/containerd/containerd/api/services/diff/v1"
	leases "github.com/containerd/containerd/api/services/leases/v1"
	api "github.com/containerd/containerd/api/services/snapshots/v1"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// peer is something that has snapshots.
type peer interface {
	name() string
	// grow makes the chain of that length and returns its last name.
	grow(ctx context.Context, length int) (top string, err error)
	// do carries out one of the operations, in their order, on a client's snapshots.
	do(ctx context.Context, operation, client, top string) error
	// collect really removes what was removed.
	collect(ctx context.Context) error
	close(ctx context.Context) error
}

// The operations.
const (
	prepare    = "Prepare"
	mounts     = "Mounts"
	usage      = "Usage"
	commit     = "Commit"
	view       = "View"
	removeView = "Remove of a view"
	remove     = "Remove"
	collected  = "Remove, collected" // both of the removals, to their end
)

// operations in the order in which a round has them.
var operations = []string{prepare, mounts, usage, commit, view, removeView, remove}

// server is a snapshotter behind gRPC. Of thinctl's own socket only the
// snapshots are used.
type server struct {
	title, snapshotter string
	conn               *grpc.ClientConn
	snapshots          api.SnapshotsClient
	leases             leases.LeasesClient
	diff               diff.DiffClient
	containers         containers.ContainersClient
	tasks              tasks.TasksClient
	length             int // of the chain
}

func connect(title, socket, snapshotter string) (*server, error) {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &server{title: title, snapshotter: snapshotter, conn: conn, snapshots: api.NewSnapshotsClient(conn),
		leases: leases.NewLeasesClient(conn), diff: diff.NewDiffClient(conn),
		containers: containers.NewContainersClient(conn), tasks: tasks.NewTasksClient(conn)}, nil
}

func (s *server) name() string { return s.title }

func (s *server) close(context.Context) error { return s.conn.Close() }

// namespace is containerd's, of all that is made here.
const namespace = "peers"

func inNamespace(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs("containerd-namespace", namespace))
}

// kept keeps containerd's garbage collector away.
var kept = map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"}

func (s *server) do(ctx context.Context, operation, client, top string) error {
	ctx = inNamespace(ctx)
	var err error
	switch operation {
	case prepare:
		_, err = s.snapshots.Prepare(ctx, &api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: client, Parent: top, Labels: kept})
	case mounts:
		_, err = s.snapshots.Mounts(ctx, &api.MountsRequest{Snapshotter: s.snapshotter, Key: client})
	case usage:
		_, err = s.snapshots.Usage(ctx, &api.UsageRequest{Snapshotter: s.snapshotter, Key: client})
	case commit:
		_, err = s.snapshots.Commit(ctx, &api.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: client + "-done", Key: client, Labels: kept})
	case view:
		_, err = s.snapshots.View(ctx, &api.ViewSnapshotRequest{Snapshotter: s.snapshotter, Key: client + "-view", Parent: top, Labels: kept})
	case removeView:
		err = s.remove(ctx, client+"-view")
	case remove:
		err = s.remove(ctx, client+"-done")
	default:
		err = fmt.Errorf("there is no operation %q", operation)
	}
	return err
}

func (s *server) remove(ctx context.Context, key string) error {
	_, err := s.snapshots.Remove(ctx, &api.RemoveSnapshotRequest{Snapshotter: s.snapshotter, Key: key})
	return err
}

// collect has containerd's garbage collector run, which the end of a lease may
// wait for, and which ends with the snapshotter's Cleanup; behind thinctl's own
// socket that is what there is.
func (s *server) collect(ctx context.Context) error {
	ctx = inNamespace(ctx)
	if s.title == directName {
		_, err := s.snapshots.Cleanup(ctx, &api.CleanupRequest{Snapshotter: s.snapshotter})
		return err
	}
	const id = "collect"
	if _, err := s.leases.Create(ctx, &leases.CreateRequest{ID: id}); err != nil {
		return err
	}
	_, err := s.leases.Delete(ctx, &leases.DeleteRequest{ID: id, Sync: true})
	return err
}
