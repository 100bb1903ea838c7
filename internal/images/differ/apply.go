package differ

import (
	"bufio"
	"context"
	"errors"
	"sync/atomic"

	api "github.com/containerd/containerd/api/services/diff/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/content/proxy"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"thinctl/fault"
	"thinctl/internal/images/layertar"
	"thinctl/snapshots"
)

// layerTypes are the media types of layers that Apply extracts. The compression is
// detected from the contents, as containerd does for Docker's types.
var layerTypes = map[string]bool{
	images.MediaTypeDockerSchema2Layer:            true,
	images.MediaTypeDockerSchema2LayerGzip:        true,
	images.MediaTypeDockerSchema2LayerZstd:        true,
	images.MediaTypeDockerSchema2LayerForeign:     true,
	images.MediaTypeDockerSchema2LayerForeignGzip: true,
	v1.MediaTypeImageLayer:                        true,
	v1.MediaTypeImageLayerGzip:                    true,
	v1.MediaTypeImageLayerZstd:                    true,
	// The OCI has deprecated these, but there are images with them.
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
}

func (v service) Apply(ctx context.Context, q *api.ApplyRequest) (*api.ApplyResponse, error) {
	applied, err := v.d.apply(ctx, q)
	if err != nil {
		return nil, toStatus(err)
	}
	return &api.ApplyResponse{Applied: applied}, nil
}

func (d *Differ) apply(ctx context.Context, q *api.ApplyRequest) (*types.Descriptor, error) {
	layer := q.GetDiff()
	if !layerTypes[layer.GetMediaType()] {
		object := "a layer of type " + layer.GetMediaType()
		return nil, &snapshots.Error{Op: "extract", Object: object, Kind: fault.Unsupported}
	}
	into, err := d.s.Active(ctx, mount.FromProto(q.GetMounts()))
	if err != nil {
		return nil, err
	}
	if d.options.Ready != nil {
		if err := d.options.Ready(); err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	ctx, err = inNamespace(ctx)
	if err != nil {
		return nil, err
	}
	blob, err := proxy.NewContentStore(d.conn).ReaderAt(ctx, v1.Descriptor{
		MediaType: layer.GetMediaType(), Digest: digest.Digest(layer.GetDigest()), Size: layer.GetSize(),
	})
	if errdefs.IsUnavailable(err) {
		// The walking differ reads the layer without this connection.
		d.options.Log.Warn("a layer is left to the next differ, since containerd cannot be reached",
			"containerd", d.options.Containerd, "digest", layer.GetDigest(), "error", err)
		return nil, &snapshots.Error{Op: "extract", Object: "a layer", Kind: fault.Unsupported,
			Detail: "containerd at " + d.options.Containerd + " cannot be reached"}
	}
	if err != nil {
		return nil, inStore("read "+layer.GetDigest(), err)
	}
	var applied layertar.Applied
	err = into.Fill(ctx, func(root string) (err error) {
		applied, err = layertar.Apply(ctx, root, bufio.NewReaderSize(content.NewReader(blob), receiveSize),
			layertar.ApplyOptions{NoSplit: true, Warn: d.warn(layer.GetDigest())})
		return err
	})
	if err = errors.Join(err, blob.Close()); err != nil {
		return nil, err
	}
	d.options.Log.Debug("extracted a layer",
		"snapshot", into.Name(), "digest", layer.GetDigest(), "bytes", applied.TarSize)
	return &types.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: applied.DiffID, Size: applied.TarSize}, nil
}

// receiveSize is the size of reads from containerd, each of which is a request.
const receiveSize = 4 << 20

// maxWarnings is the number of warnings about one layer that are logged.
const maxWarnings = 10

// warn logs what is unusual in a layer and was accepted.
func (d *Differ) warn(layer string) fault.Warn {
	var seen atomic.Int32
	return func(w fault.Warning) {
		if seen.Add(1) <= maxWarnings {
			d.options.Log.Info("accepted an unusual layer", "digest", layer, "warning", w.String())
		}
	}
}
