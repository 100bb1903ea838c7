package main

import (
	"context"
	"errors"
	"fmt"

	diffs "github.com/containerd/containerd/api/services/diff/v1"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// differ requests differences as containerd's clients do for a commit. It is in this
// process, because ctr's start takes longer than some differences.
type differ struct {
	snapshotter    string
	daemon, server *grpc.ClientConn
	snapshots      snapshots.SnapshotsClient
	service        diffs.DiffClient
	requests       int
}

// connect connects to containerd and to the socket with the Diff service, which can be
// the same.
func connect(daemon, server, snapshotter string) (*differ, error) {
	dial := func(socket string) (*grpc.ClientConn, error) {
		return grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	d := &differ{snapshotter: snapshotter}
	var err error
	if d.daemon, err = dial(daemon); err != nil {
		return nil, err
	}
	if d.server, err = dial(server); err != nil {
		return nil, errors.Join(err, d.daemon.Close())
	}
	d.snapshots, d.service = snapshots.NewSnapshotsClient(d.daemon), diffs.NewDiffClient(d.server)
	return d, nil
}

func (d *differ) close() error { return errors.Join(d.server.Close(), d.daemon.Close()) }

// diff writes the difference of an active snapshot to its parent as a layer into
// containerd's content store.
func (d *differ) diff(ctx context.Context, key, parent string) error {
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs("containerd-namespace", "default"))
	d.requests++
	view := fmt.Sprintf("%s-parent-%d", key, d.requests)
	upper, err := d.snapshots.Mounts(ctx, &snapshots.MountsRequest{Snapshotter: d.snapshotter, Key: key})
	if err != nil {
		return err
	}
	lower, err := d.snapshots.View(ctx, &snapshots.ViewSnapshotRequest{
		Snapshotter: d.snapshotter, Key: view, Parent: parent,
		Labels: map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"},
	})
	if err != nil {
		return err
	}
	_, err = d.service.Diff(ctx, &diffs.DiffRequest{
		Left: lower.GetMounts(), Right: upper.GetMounts(), MediaType: "application/vnd.oci.image.layer.v1.tar", Ref: view,
	})
	_, removed := d.snapshots.Remove(ctx, &snapshots.RemoveSnapshotRequest{Snapshotter: d.snapshotter, Key: view})
	return errors.Join(err, removed)
}
