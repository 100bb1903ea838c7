package containerd

import (
	"context"

	"github.com/containerd/containerd/v2/core/mount"
	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/internal/remedy"
	"thinctl/snapshots"
)

// remedied is a snapshotter whose errors have the sentences of their remedies: containerd
// passes the texts on to people.
type remedied struct{ s *snapshots.Snapshotter }

var (
	_ core.Snapshotter = remedied{}
	_ core.Cleaner     = remedied{}
)

func (r remedied) Stat(ctx context.Context, key string) (core.Info, error) {
	info, err := r.s.Stat(ctx, key)
	return info, remedy.Add(err)
}

func (r remedied) Update(ctx context.Context, info core.Info, fields ...string) (core.Info, error) {
	info, err := r.s.Update(ctx, info, fields...)
	return info, remedy.Add(err)
}

func (r remedied) Usage(ctx context.Context, key string) (core.Usage, error) {
	usage, err := r.s.Usage(ctx, key)
	return usage, remedy.Add(err)
}

func (r remedied) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	mounts, err := r.s.Mounts(ctx, key)
	return mounts, remedy.Add(err)
}

func (r remedied) Prepare(ctx context.Context, key, parent string, opts ...core.Opt) ([]mount.Mount, error) {
	mounts, err := r.s.Prepare(ctx, key, parent, opts...)
	return mounts, remedy.Add(err)
}

func (r remedied) View(ctx context.Context, key, parent string, opts ...core.Opt) ([]mount.Mount, error) {
	mounts, err := r.s.View(ctx, key, parent, opts...)
	return mounts, remedy.Add(err)
}

func (r remedied) Commit(ctx context.Context, name, key string, opts ...core.Opt) error {
	return remedy.Add(r.s.Commit(ctx, name, key, opts...))
}

func (r remedied) Remove(ctx context.Context, key string) error {
	return remedy.Add(r.s.Remove(ctx, key))
}

func (r remedied) Walk(ctx context.Context, f core.WalkFunc, match ...string) error {
	return remedy.Add(r.s.Walk(ctx, f, match...))
}

func (r remedied) Cleanup(ctx context.Context) error { return remedy.Add(r.s.Cleanup(ctx)) }

func (r remedied) Close() error { return r.s.Close() }
