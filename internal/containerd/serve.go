package containerd

import (
	"context"
	"net"
	"path"
	"time"

	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/errdefs/pkg/errgrpc"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ServeOptions change how a snapshotter is served.
type ServeOptions struct {
	// Observe hears of each request when it begins: the method, such as "Prepare".
	// What it returns is called when the request has ended, with gRPC's word for the
	// outcome, such as "OK" or "NotFound". Several are called at once.
	Observe func(method string) (ended func(code string))
	// Ready is asked before each request to the snapshotter; an error is the answer to
	// it, and has containerd come again. nil: it always is.
	Ready func() error
	// Services registers what else is served on the listener; nil: nothing.
	Services func(grpc.ServiceRegistrar)
	// Grace is how long requests under way may take once ctx has ended; 10 s where
	// zero.
	Grace time.Duration
}

// Serve answers containerd on a listener until ctx ends, and then nil. It closes
// the listener, and leaves the snapshotter open.
func Serve(ctx context.Context, on net.Listener, s *Snapshotter, o ServeOptions) error {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(o.unary), grpc.ChainStreamInterceptor(o.stream))
	api.RegisterSnapshotsServer(server, service{snapshotservice.FromSnapshotter(s)})
	if o.Services != nil {
		o.Services(server)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(on) }()
	select {
	case err := <-ended:
		server.Stop()
		return err
	case <-ctx.Done():
	}
	o.stop(server)
	return <-ended
}

// service is containerd's Snapshots service over a snapshotter.
type service struct{ api.SnapshotsServer }

// Update rejects a request without a snapshot, on which the service panics (containerd
// 2.4.2, core/snapshots/proxy/convert.go, InfoFromProto).
func (s service) Update(ctx context.Context, q *api.UpdateSnapshotRequest) (*api.UpdateSnapshotResponse, error) {
	if q.GetInfo() == nil {
		return nil, status.Error(codes.InvalidArgument, "update a snapshot: the request names none")
	}
	return s.SnapshotsServer.Update(ctx, q)
}

// stop lets requests under way end, and then cancels them.
func (o ServeOptions) stop(server *grpc.Server) {
	grace := o.Grace
	if grace == 0 {
		grace = 10 * time.Second
	}
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		server.GracefulStop()
	}()
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-quiet:
	case <-late.C:
		server.Stop()
		<-quiet
	}
}

func (o ServeOptions) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ended := o.observe(info.FullMethod)
	answer, err := any(nil), o.ready(info.FullMethod)
	if err == nil {
		answer, err = handle(ctx, request)
	}
	ended(err)
	return answer, err
}

func (o ServeOptions) stream(server any, to grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ended := o.observe(info.FullMethod)
	err := o.ready(info.FullMethod)
	if err == nil {
		// snapshotservice returns the errors of List as they are.
		err = errgrpc.ToGRPC(handle(server, to))
	}
	ended(err)
	return err
}

func (o ServeOptions) ready(method string) error {
	if o.Ready == nil || path.Dir(method) != "/"+api.Snapshots_ServiceDesc.ServiceName {
		return nil
	}
	if err := o.Ready(); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

func (o ServeOptions) observe(method string) (ended func(error)) {
	if o.Observe == nil {
		return func(error) {}
	}
	told := o.Observe(path.Base(method))
	return func(err error) { told(status.Code(err).String()) }
}
