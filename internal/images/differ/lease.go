package differ

import (
	"context"
	"crypto/rand"
	"time"

	api "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"thinctl/snapshots"
)

// leaseTime is the time that a client has to make an image of a layer.
const leaseTime = time.Hour

// expires is the label with the time when a lease ends, for containerd's garbage
// collector (core/metadata/gc.go).
const expires = "containerd.io/gc.expire"

// inNamespace returns a context for requests to containerd in the request's namespace.
func inNamespace(ctx context.Context) (context.Context, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, &snapshots.Error{Op: "read", Object: "containerd's namespace", Err: err}
	}
	return namespaces.WithNamespace(ctx, namespace), nil
}

// held returns a context for requests to containerd in the request's namespace. The
// request's lease, or one that expires, keeps what they write. The caller calls release
// if it did not write a layer.
func (d *Differ) held(ctx context.Context) (_ context.Context, release func(context.Context) error, err error) {
	if ctx, err = inNamespace(ctx); err != nil {
		return nil, nil, err
	}
	if lease, has := leases.FromContext(ctx); has {
		return leases.WithLease(ctx, lease), func(context.Context) error { return nil }, nil
	}
	client := api.NewLeasesClient(d.conn)
	id := "thinctl-diff-" + rand.Text()
	until := d.options.Now().Add(leaseTime).UTC().Format(time.RFC3339)
	_, err = client.Create(ctx, &api.CreateRequest{ID: id, Labels: map[string]string{expires: until}})
	if err != nil {
		object := "a lease in containerd at " + d.options.Containerd
		return nil, nil, &snapshots.Error{Op: "create", Object: object, Err: errgrpc.ToNative(err)}
	}
	release = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
		defer cancel()
		_, err := client.Delete(ctx, &api.DeleteRequest{ID: id})
		if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	return leases.WithLease(ctx, id), release, nil
}
