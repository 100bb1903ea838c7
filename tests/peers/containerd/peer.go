package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
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
}

// operations in the order in which a round has them.
var operations = []string{"Prepare", "Mounts", "Usage", "Commit", "View", "Remove a view", "Remove"}

// server is a snapshotter behind gRPC.
type server struct {
	title, snapshotter string
	conn               *grpc.ClientConn
	client             api.SnapshotsClient
	length             int // of the chain
}

func connect(title, socket, snapshotter string) (*server, error) {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return &server{title: title, snapshotter: snapshotter, conn: conn, client: api.NewSnapshotsClient(conn)}, err
}

func (s *server) name() string { return s.title }

func inNamespace(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "peers")
}

// kept keeps containerd's garbage collector away.
var kept = map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"}

func link(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint("chain-", n)
}

// grow writes a file in each link, as a layer would.
func (s *server) grow(ctx context.Context, length int) (string, error) {
	ctx = inNamespace(ctx)
	target, err := os.MkdirTemp("", "link")
	if err != nil {
		return "", err
	}
	defer os.Remove(target)
	for ; s.length < length; s.length++ {
		name := link(s.length + 1)
		made, err := s.client.Prepare(ctx, &api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: "work", Parent: link(s.length), Labels: kept})
		if err != nil {
			return "", err
		}
		if err := mount.All(mount.FromProto(made.GetMounts()), target); err != nil {
			return "", err
		}
		err = os.WriteFile(target+"/"+name, make([]byte, 100<<10), 0o644)
		if err = errors.Join(err, mount.UnmountAll(target, 0)); err != nil {
			return "", err
		}
		if _, err := s.client.Commit(ctx, &api.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: name, Key: "work", Labels: kept}); err != nil {
			return "", err
		}
	}
	return link(length), nil
}

func (s *server) do(ctx context.Context, operation, client, top string) error {
	ctx = inNamespace(ctx)
	var err error
	switch operation {
	case "Prepare":
		_, err = s.client.Prepare(ctx, &api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: client, Parent: top, Labels: kept})
	case "Mounts":
		_, err = s.client.Mounts(ctx, &api.MountsRequest{Snapshotter: s.snapshotter, Key: client})
	case "Usage":
		_, err = s.client.Usage(ctx, &api.UsageRequest{Snapshotter: s.snapshotter, Key: client})
	case "Commit":
		_, err = s.client.Commit(ctx, &api.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: client + "-done", Key: client, Labels: kept})
	case "View":
		_, err = s.client.View(ctx, &api.ViewSnapshotRequest{Snapshotter: s.snapshotter, Key: client + "-view", Parent: top, Labels: kept})
	case "Remove a view":
		_, err = s.client.Remove(ctx, &api.RemoveSnapshotRequest{Snapshotter: s.snapshotter, Key: client + "-view"})
	case "Remove":
		_, err = s.client.Remove(ctx, &api.RemoveSnapshotRequest{Snapshotter: s.snapshotter, Key: client + "-done"})
	}
	return err
}
