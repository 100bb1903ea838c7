package differ

import (
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"thinctl/fault"
	"thinctl/snapshots"
)

// mediaType returns the media type for a request. As in the walking differ the default
// is gzip.
func mediaType(requested string) (string, error) {
	switch requested {
	case "":
		return v1.MediaTypeImageLayerGzip, nil
	case v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd:
		return requested, nil
	}
	return "", &snapshots.Error{Op: "write", Object: "a layer of type " + requested, Kind: fault.Unsupported}
}

// compressor returns the compressor for a media type. Close ends the stream and leaves w
// open. The gzip of klauspost/compress takes a third of the time of the standard
// library's, for output that is 3 % larger (BenchmarkCompress).
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
