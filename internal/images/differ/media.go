package differ

import (
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"thinctl/internal/containerd"
)

// mediaType returns the media type of a layer that was asked for; as the walking
// differ's it is gzip where none is named.
func mediaType(asked string) (string, error) {
	switch asked {
	case "":
		return v1.MediaTypeImageLayerGzip, nil
	case v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd:
		return asked, nil
	}
	return "", &containerd.Error{Op: "write", Object: "a layer of type " + asked, Kind: containerd.ErrUnsupported}
}

// compressor returns what compresses a layer of a media type. To close it ends the
// stream, and leaves w open.
func compressor(w io.Writer, media string) (io.WriteCloser, error) {
	switch media {
	case v1.MediaTypeImageLayerGzip:
		return gzip.NewWriter(w), nil
	case v1.MediaTypeImageLayerZstd:
		return zstd.NewWriter(w)
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
