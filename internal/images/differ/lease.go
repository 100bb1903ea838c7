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

	"thinctl/internal/containerd"
)

// leaseLasts is how long a layer is kept for its client to make an image of it.
const leaseLasts = time.Hour

// expires is the label by which containerd's garbage collector knows that a lease has
// ended (core/metadata/gc.go).
const expires = "containerd.io/gc.expire"

// held returns a context for requests to containerd in the request's namespace, whose
// writes are held by the request's lease, or by one that expires. release is for a
// layer that was not written.
func (d *Differ) held(ctx context.Context) (_ context.Context, release func(context.Context) error, err error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, nil, &containerd.Error{Op: "compare", Object: "snapshots", Err: err}
	}
	ctx = namespaces.WithNamespace(ctx, namespace)
	if lease, has := leases.FromContext(ctx); has {
		return leases.WithLease(ctx, lease), func(context.Context) error { return nil }, nil
	}
	client := api.NewLeasesClient(d.conn)
	id := "thinctl-diff-" + rand.Text()
	_, err = client.Create(ctx, &api.CreateRequest{ID: id, Labels: map[string]string{expires: d.options.Now().Add(leaseLasts).UTC().Format(time.RFC3339)}})
	if err != nil {
		return nil, nil, &containerd.Error{Op: "create", Object: "a lease in containerd at " + d.options.Containerd, Err: errgrpc.ToNative(err)}
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
