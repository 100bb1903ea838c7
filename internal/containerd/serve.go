package containerd

import (
	"context"
	"net"
	"path"
	"thinctl/internal/remedy"
	"thinctl/snapshots"
	"time"

	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/errdefs/pkg/errgrpc"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ServeOptions are the options of Serve.
type ServeOptions struct {
	// Observe is called with the method, such as "Prepare", when a request begins. The
	// function that it returns is called when the request has ended, with the gRPC
	// code, such as "OK" or "NotFound". Calls are concurrent.
	Observe func(method string) (ended func(code string))
	// Ready is called before each request to the snapshotter. If it returns an error,
	// that is the answer, and containerd retries. nil means always ready.
	Ready func() error
	// Services registers other services on the listener. It may be nil.
	Services func(grpc.ServiceRegistrar)
	// Grace is how long requests in progress may take after ctx has ended; 10 s if
	// zero.
	Grace time.Duration
}

// Serve serves containerd on a listener until ctx ends, and then returns nil. It closes
// the listener, and leaves the snapshotter open.
func Serve(ctx context.Context, on net.Listener, s *snapshots.Snapshotter, o ServeOptions) error {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(o.unary), grpc.ChainStreamInterceptor(o.stream))
	api.RegisterSnapshotsServer(server, service{snapshotservice.FromSnapshotter(remedied{s})})
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

// stop lets requests in progress end, and cancels them after the grace period.
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

func (o ServeOptions) unary(
	ctx context.Context,
	request any,
	info *grpc.UnaryServerInfo,
	handle grpc.UnaryHandler,
) (any, error) {
	ended := o.observe(info.FullMethod)
	answer, err := any(nil), o.ready(info.FullMethod)
	if err == nil {
		answer, err = handle(ctx, request)
	}
	ended(err)
	return answer, err
}

func (o ServeOptions) stream(
	server any,
	to grpc.ServerStream,
	info *grpc.StreamServerInfo,
	handle grpc.StreamHandler,
) error {
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
	refusal := o.Observe(path.Base(method))
	return func(err error) { refusal(status.Code(err).String()) }
}

// ToGRPC returns an error as a gRPC status. The text reaches logs and, through the
// kubelet, the events of a pod.
func ToGRPC(err error) error { return errgrpc.ToGRPC(remedy.Add(snapshots.Classify(err))) }
