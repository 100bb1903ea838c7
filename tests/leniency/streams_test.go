package leniency

import (
	"bytes"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// streamQuirks are those of a layer's compression, in archives and in registries.
func streamQuirks() []quirk {
	type stream struct {
		name string
		pack func([]byte) ([]byte, error)
		kind string // of the media type in a registry
	}
	halves := func(pack func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
		return func(data []byte) ([]byte, error) {
			first, err := pack(data[:len(data)/2])
			if err != nil {
				return nil, err
			}
			second, err := pack(data[len(data)/2:])
			return append(first, second...), err
		}
	}
	var all []quirk
	for _, s := range []stream{
		{"gzip", gzipped, "+gzip"},
		{"gzip-members", halves(gzipped), "+gzip"},
		{"gzip-empty-member", func(data []byte) ([]byte, error) {
			first, err := gzipped(nil)
			if err != nil {
				return nil, err
			}
			second, err := gzipped(data)
			return append(first, second...), err
		}, "+gzip"},
		{"gzip-zeros-after", then(gzipped, strings.Repeat("\x00", 512)), "+gzip"},
		{"gzip-zeros-and-garbage-after", then(gzipped, "\x00\x00garbage"), "+gzip"},
		{"gzip-garbage-after", then(gzipped, "garbage after the stream"), "+gzip"},
		{"gzip-header-fields", func(data []byte) ([]byte, error) {
			out, err := gzipped(data)
			// FLG has FEXTRA, FNAME and FCOMMENT (RFC 1952, 2.3.1).
			out[3] = 4 | 8 | 16
			return append(append(bytes.Clone(out[:10]), "\x03\x00abcname\x00comment\x00"...), out[10:]...), err
		}, "+gzip"},
		{"zstd", zstd, "+zstd"},
		{"zstd-frames", halves(zstd), "+zstd"},
		{"zstd-skippable-first", func(data []byte) ([]byte, error) {
			out, err := zstd(data)
			return append(imagetest.ZstdSkippable([]byte("index")), out...), err
		}, "+zstd"},
		{"zstd-window-8m", window(23), "+zstd"},
		{"zstd-window-128m", window(27), "+zstd"},
		{"zstd-zeros-after", then(zstd, strings.Repeat("\x00", 512)), "+zstd"},
		{"xz", by("xz"), ""},
		{"bzip2", by("bzip2"), ""},
	} {
		all = append(all,
			quirk{name: "layer-" + s.name, form: dockerArchive, draft: func(d *draft) { d.stored(s.pack) }},
			quirk{name: "pull-" + s.name, form: registry, draft: func(d *draft) {
				d.stored(s.pack)
				d.last().MediaType = imagetest.OCILayer + s.kind
			}})
	}
	return all
}
