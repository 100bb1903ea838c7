package main

import (
	"context"
	"errors"
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

// peer is a program that has snapshots.
type peer interface {
	name() string
	// grow makes a chain of that length and returns its last name.
	grow(ctx context.Context, length int) (top string, err error)
	// do runs one of the operations, in their order, on a client's snapshots.
	do(ctx context.Context, operation, client, top string) error
	// collect really removes snapshots whose Remove has returned.
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
	collected  = "Remove, collected" // both of the removals, until they have ended
)

// operations are in the order in which a round runs them.
var operations = []string{prepare, mounts, usage, commit, view, removeView, remove}

// server is a snapshotter behind gRPC. Of thinctl's own socket only the service of
// snapshots is used.
type server struct {
	title, snapshotter string
	conn, differs      *grpc.ClientConn // the same but for thinctl
	snapshots          api.SnapshotsClient
	leases             leases.LeasesClient
	diff               diff.DiffClient
	containers         containers.ContainersClient
	tasks              tasks.TasksClient
	length             int // of the chain
}

// connect connects to a snapshotter, and to the Diff service that extracts its layers.
// containerd 1.6 has no proxies for these services, so that of thinctl is called directly.
func connect(title, socket, differ, snapshotter string) (*server, error) {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	differs, err := grpc.NewClient("unix:"+differ, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &server{title: title, snapshotter: snapshotter, conn: conn, differs: differs,
		snapshots: api.NewSnapshotsClient(conn), leases: leases.NewLeasesClient(conn), diff: diff.NewDiffClient(differs),
		containers: containers.NewContainersClient(conn), tasks: tasks.NewTasksClient(conn)}, nil
}

func (s *server) name() string { return s.title }

func (s *server) close(context.Context) error { return errors.Join(s.conn.Close(), s.differs.Close()) }

// namespace is containerd's namespace of all objects that are made here.
const namespace = "peers"

func inNamespace(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs("containerd-namespace", namespace))
}

// kept keeps containerd's garbage collector from the objects.
var kept = map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"}

func (s *server) do(ctx context.Context, operation, client, top string) error {
	ctx = inNamespace(ctx)
	var err error
	switch operation {
	case prepare:
		_, err = s.snapshots.Prepare(ctx,
			&api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: client, Parent: top, Labels: kept})
	case mounts:
		_, err = s.snapshots.Mounts(ctx, &api.MountsRequest{Snapshotter: s.snapshotter, Key: client})
	case usage:
		_, err = s.snapshots.Usage(ctx, &api.UsageRequest{Snapshotter: s.snapshotter, Key: client})
	case commit:
		_, err = s.snapshots.Commit(ctx,
			&api.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: client + "-done", Key: client, Labels: kept})
	case view:
		_, err = s.snapshots.View(ctx,
			&api.ViewSnapshotRequest{Snapshotter: s.snapshotter, Key: client + "-view", Parent: top, Labels: kept})
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

// collect makes containerd's garbage collector run. The end of a lease can wait for it, and
// it ends with the snapshotter's Cleanup. Thinctl's own socket has only Cleanup.
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
