package differ

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/containerd/containerd/v2/core/mount"

	api "github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"thinctl/fault"
	"thinctl/internal/containerd"
	"thinctl/snapshots"
)

// Options are the options of New.
type Options struct {
	// Containerd is the path of containerd's own socket.
	Containerd string
	// Ready is called before snapshots are read. Its error is the answer to the request.
	// If it is nil the differ is always ready.
	Ready func() error
	// Log receives messages about requests, by default slog.Default.
	Log *slog.Logger
	// Now is the clock for leases, by default time.Now.
	Now func() time.Time
}

// Differ is the Diff service of one snapshotter.
type Differ struct {
	s       *snapshots.Snapshotter
	options Options
	conn    *grpc.ClientConn
}

// New returns the differ of a snapshotter. It connects to containerd when it writes a
// layer, and again after the connection is lost.
func New(s *snapshots.Snapshotter, o Options) (*Differ, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	conn, err := grpc.NewClient("unix://"+o.Containerd, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
			grpc.MaxCallSendMsgSize(defaults.DefaultMaxSendMsgSize)))
	if err != nil {
		return nil, err
	}
	return &Differ{s: s, options: o, conn: conn}, nil
}

// Register registers the service at a server.
func (d *Differ) Register(to grpc.ServiceRegistrar) { api.RegisterDiffServer(to, service{d: d}) }

// Close ends the connection to containerd.
func (d *Differ) Close() error { return d.conn.Close() }

// service is containerd's Diff service.
type service struct {
	api.UnimplementedDiffServer // for methods of later versions
	d                           *Differ
}

func (v service) Diff(ctx context.Context, q *api.DiffRequest) (*api.DiffResponse, error) {
	layer, err := v.d.compare(ctx, q)
	if err != nil {
		return nil, toStatus(err)
	}
	return &api.DiffResponse{Diff: layer}, nil
}

func (d *Differ) compare(ctx context.Context, q *api.DiffRequest) (*types.Descriptor, error) {
	media, err := mediaType(q.GetMediaType())
	if err != nil {
		return nil, err
	}
	pair, err := d.s.Pair(ctx, mount.FromProto(q.GetLeft()), mount.FromProto(q.GetRight()))
	if err != nil {
		return nil, err
	}
	if d.options.Ready != nil {
		if err := d.options.Ready(); err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	ctx, release, err := d.held(ctx)
	if err != nil {
		return nil, err
	}
	want := request{media: media, reference: q.GetRef(), labels: q.GetLabels()}
	if at := q.GetSourceDateEpoch(); at != nil {
		want.latest = at.AsTime()
	}
	var layer *types.Descriptor
	err = pair.Read(ctx, func(trees snapshots.Trees) (err error) {
		layer, err = d.write(ctx, trees, want)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, release(ctx))
	}
	d.options.Log.Debug("wrote the difference of a snapshot",
		"snapshot", pair.Upper(), "digest", layer.GetDigest(), "bytes", layer.GetSize())
	return layer, nil
}

// toStatus returns an error of the snapshotter or of containerd with its code. The code
// is Unimplemented only if the request is declined: containerd then tries the next
// differ.
func toStatus(err error) error {
	if _, is := status.FromError(err); is {
		return err
	}
	var own *snapshots.Error
	if errors.As(err, &own) && own.Kind == fault.Unsupported { //nolint:errorlint // the outermost kind
		return errgrpc.ToGRPC(err)
	}
	//nolint:errorlint // Resolve returns the bare value
	switch errdefs.Resolve(err) {
	case errdefs.ErrNotImplemented:
		return status.Error(codes.Internal, err.Error())
	case errdefs.ErrUnavailable, errdefs.ErrFailedPrecondition, errdefs.ErrInvalidArgument,
		errdefs.ErrAlreadyExists, errdefs.ErrNotFound:
		return errgrpc.ToGRPC(err)
	}
	return containerd.ToGRPC(err)
}
