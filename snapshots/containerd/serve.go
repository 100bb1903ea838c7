package containerd

import (
	"context"
	"net"
	"path"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ServeOptions change how a snapshotter is served.
type ServeOptions struct {
	// Observe hears of each request when it has ended: the method, such as
	// "Prepare", gRPC's word for the outcome, such as "OK" or "NotFound", and how
	// long it took. It may be called at any time by several at once.
	Observe func(method, code string, took time.Duration)
	// Grace is how long requests under way may take once ctx has ended; 10 s where
	// zero.
	Grace time.Duration
}

// Serve answers containerd on a listener until ctx ends, and then nil. It closes
// the listener, and leaves the snapshotter open.
func Serve(ctx context.Context, on net.Listener, s *Snapshotter, o ServeOptions) error {
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(o.unary), grpc.ChainStreamInterceptor(o.stream))
	api.RegisterSnapshotsServer(server, service{s: s})
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
	began := time.Now()
	answer, err := handle(ctx, request)
	o.observe(info.FullMethod, err, began)
	return answer, err
}

func (o ServeOptions) stream(server any, to grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	began := time.Now()
	err := handle(server, to)
	o.observe(info.FullMethod, err, began)
	return err
}

func (o ServeOptions) observe(method string, err error, began time.Time) {
	if o.Observe == nil {
		return
	}
	word := codes.OK
	if err != nil {
		word = status.Code(err)
	}
	o.Observe(path.Base(method), word.String(), time.Since(began))
}
