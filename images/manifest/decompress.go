package manifest

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a stream is compressed.
type Compression string

// The compressions that are known.
const (
	Plain Compression = ""
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
	Bzip2 Compression = "bzip2"
	Xz    Compression = "xz" // recognized, not read
)

// Sniff tells from a stream's first bytes how it is compressed.
func Sniff(head []byte) Compression {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 0x08}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd // begins with a skippable frame
	case bytes.HasPrefix(head, []byte("BZh")):
		return Bzip2
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return Xz
	}
	return Plain
}

// SniffLength is how many bytes Sniff looks at.
const SniffLength = 6

// Decompress uncompresses r, however it is compressed. It reads r to its end,
// and Close closes it. name, which may be nil, completes errors.
func Decompress(r io.ReadCloser, name func(error) error) (io.ReadCloser, error) {
	if name == nil {
		name = func(err error) error { return err }
	}
	noted := &noting{r: r}
	buffered := bufio.NewReaderSize(noted, 128<<10)
	head, err := buffered.Peek(SniffLength)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	d := &decompressor{noted: noted, source: buffered, close: []func() error{r.Close}, name: name, how: Sniff(head)}
	switch d.how {
	case Gzip:
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, name(d.explain(err))
		}
		d.out = z
	case Zstd:
		z, err := zstd.NewReader(buffered, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, name(d.explain(err))
		}
		d.out = z
		d.close = append([]func() error{func() error { z.Close(); return nil }}, d.close...)
	case Bzip2:
		d.out = bzip2.NewReader(buffered)
	case Xz:
		return nil, name(&Error{Kind: ErrFormat, Detail: "compressed by xz", Remedy: "unpack it first: xz -d"})
	default:
		d.out = buffered
	}
	return d, nil
}

// maxWindow is that of zstd --long=27, the most that zstd itself takes unasked.
const maxWindow = 128 << 20

type decompressor struct {
	how    Compression
	noted  *noting
	source *bufio.Reader
	out    io.Reader
	close  []func() error
	name   func(error) error
	failed error
}

func (d *decompressor) Read(p []byte) (int, error) {
	if d.failed != nil {
		return 0, d.failed
	}
	n, err := d.out.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		d.failed = d.drain()
	default:
		d.failed = d.name(d.explain(err))
	}
	return n, d.failed
}

// drain reads what follows the compressed data, for the sake of a verifier
// below.
func (d *decompressor) drain() error {
	if _, err := io.Copy(io.Discard, d.source); err != nil {
		return err
	}
	return io.EOF
}

// explain tells damaged data from a source that failed.
func (d *decompressor) explain(err error) error {
	switch {
	case d.noted.failed != nil:
		return d.noted.failed
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Kind: ErrTruncated, Detail: "the " + string(d.how) + " data ends too early", Err: io.ErrUnexpectedEOF}
	case d.how == Plain:
		return err
	}
	return &Error{Kind: ErrFormat, Detail: "the " + string(d.how) + " data is damaged", Err: err}
}

// noting keeps its reader's error apart from what the decoder makes of it.
type noting struct {
	r      io.Reader
	failed error
}

func (n *noting) Read(p []byte) (int, error) {
	read, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.failed = err
	}
	return read, err
}

func (d *decompressor) Close() error {
	var failed error
	for _, closeOne := range d.close {
		failed = errors.Join(failed, closeOne())
	}
	return failed
}
