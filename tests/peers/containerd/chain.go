package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
)

func link(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint("chain-", n)
}

// written are the links that get a file, as a layer would. If all got one, a run would
// spend most of its time on mounts for the slowest peer.
func written(n int) bool { return n == 1 || n%16 == 0 }

func (s *server) grow(ctx context.Context, length int) (string, error) {
	ctx = inNamespace(ctx)
	for ; s.length < length; s.length++ {
		n := s.length + 1
		made, err := s.snapshots.Prepare(ctx,
			&api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: "work", Parent: link(s.length), Labels: kept})
		if err != nil {
			return "", err
		}
		if written(n) {
			if err := write(made.GetMounts(), link(n)); err != nil {
				return "", err
			}
		}
		if _, err := s.snapshots.Commit(ctx,
			&api.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: link(n), Key: "work", Labels: kept}); err != nil {
			return "", err
		}
	}
	return link(length), nil
}

func write(mounts []*types.Mount, name string) error {
	target, err := os.MkdirTemp("", "link")
	if err != nil {
		return err
	}
	defer os.Remove(target)
	if err := mount.All(mount.FromProto(mounts), target); err != nil {
		return err
	}
	err = os.WriteFile(target+"/"+name, make([]byte, 100<<10), 0o644)
	return errors.Join(err, mount.UnmountAll(target, 0))
}
