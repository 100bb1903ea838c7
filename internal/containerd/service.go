package containerd

import (
	"context"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// service is containerd's Snapshots service. That requests name a snapshotter is
// of no account: which one it is, the socket has told.
type service struct {
	api.UnimplementedSnapshotsServer
	s *Snapshotter
}

func (v service) Prepare(ctx context.Context, q *api.PrepareSnapshotRequest) (*api.PrepareSnapshotResponse, error) {
	mounts, err := v.s.Prepare(ctx, q.GetKey(), q.GetParent(), q.GetLabels())
	if err != nil {
		return nil, ToStatus(err)
	}
	return &api.PrepareSnapshotResponse{Mounts: mountsOf(mounts)}, nil
}

func (v service) View(ctx context.Context, q *api.ViewSnapshotRequest) (*api.ViewSnapshotResponse, error) {
	mounts, err := v.s.View(ctx, q.GetKey(), q.GetParent(), q.GetLabels())
	if err != nil {
		return nil, ToStatus(err)
	}
	return &api.ViewSnapshotResponse{Mounts: mountsOf(mounts)}, nil
}

func (v service) Mounts(ctx context.Context, q *api.MountsRequest) (*api.MountsResponse, error) {
	mounts, err := v.s.Mounts(ctx, q.GetKey())
	if err != nil {
		return nil, ToStatus(err)
	}
	return &api.MountsResponse{Mounts: mountsOf(mounts)}, nil
}

// Commit takes a parent only where it is the one that the snapshot has: to put it
// on another is offered to snapshotters that can ("rebase").
func (v service) Commit(ctx context.Context, q *api.CommitSnapshotRequest) (*emptypb.Empty, error) {
	if parent := q.GetParent(); parent != "" {
		info, err := v.s.Stat(ctx, q.GetKey())
		if err == nil && info.Parent != parent {
			err = refused("commit", q.GetKey(), ErrUnsupported, "it stands on "+quoted(info.Parent)+" and cannot be put on "+quoted(parent))
		}
		if err != nil {
			return nil, ToStatus(err)
		}
	}
	return done(v.s.Commit(ctx, q.GetName(), q.GetKey(), q.GetLabels()))
}

func (v service) Remove(ctx context.Context, q *api.RemoveSnapshotRequest) (*emptypb.Empty, error) {
	return done(v.s.Remove(ctx, q.GetKey()))
}

func (v service) Cleanup(ctx context.Context, _ *api.CleanupRequest) (*emptypb.Empty, error) {
	return done(v.s.Cleanup(ctx))
}

func (v service) Stat(ctx context.Context, q *api.StatSnapshotRequest) (*api.StatSnapshotResponse, error) {
	info, err := v.s.Stat(ctx, q.GetKey())
	if err != nil {
		return nil, ToStatus(err)
	}
	return &api.StatSnapshotResponse{Info: infoOf(info)}, nil
}

func (v service) Update(ctx context.Context, q *api.UpdateSnapshotRequest) (*api.UpdateSnapshotResponse, error) {
	info, err := v.s.Update(ctx, q.GetInfo().GetName(), q.GetInfo().GetLabels(), q.GetUpdateMask().GetPaths()...)
	if err != nil {
		return nil, ToStatus(err)
	}
	return &api.UpdateSnapshotResponse{Info: infoOf(info)}, nil
}

func (v service) Usage(ctx context.Context, q *api.UsageRequest) (*api.UsageResponse, error) {
	usage, err := v.s.Usage(ctx, q.GetKey())
	if err != nil {
		return nil, ToStatus(err)
	}
	return &api.UsageResponse{Size: int64(usage.Size), Inodes: int64(usage.Inodes)}, nil
}

// List sends some at a time: a message has a largest size.
func (v service) List(q *api.ListSnapshotsRequest, to api.Snapshots_ListServer) error {
	const atOnce = 64
	var block []*api.Info
	send := func() error {
		if len(block) == 0 {
			return nil
		}
		err := to.Send(&api.ListSnapshotsResponse{Info: block})
		block = nil
		return err
	}
	err := v.s.Walk(to.Context(), func(info Info) error {
		if block = append(block, infoOf(info)); len(block) < atOnce {
			return nil
		}
		return send()
	}, q.GetFilters()...)
	if err != nil {
		return ToStatus(err)
	}
	return send()
}

func done(err error) (*emptypb.Empty, error) {
	if err != nil {
		return nil, ToStatus(err)
	}
	return &emptypb.Empty{}, nil
}

func mountsOf(mounts []Mount) []*types.Mount {
	var all []*types.Mount
	for _, m := range mounts {
		all = append(all, &types.Mount{Type: m.Type, Source: m.Source, Options: m.Options})
	}
	return all
}

func infoOf(i Info) *api.Info {
	return &api.Info{Name: i.Name, Parent: i.Parent, Kind: kindOf(i.Kind), Labels: i.Labels,
		CreatedAt: timestamppb.New(i.Created), UpdatedAt: timestamppb.New(i.Updated)}
}

func kindOf(k Kind) api.Kind {
	switch k {
	case Active:
		return api.Kind_ACTIVE
	case View:
		return api.Kind_VIEW
	case Committed:
		return api.Kind_COMMITTED
	}
	return api.Kind_UNKNOWN
}
