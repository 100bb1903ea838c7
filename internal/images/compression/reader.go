package compression

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"thinctl/fault"
	"thinctl/units"
)

// The errors for compressed data. Errors of the source are returned unchanged.
var (
	// ErrTruncated is the error for data without their end.
	ErrTruncated = errors.New("cut short")
	// ErrDamaged is the error for data that the compressor did not write.
	ErrDamaged = errors.New("damaged")
	// ErrUnsupported is the error for a compression that is detected but not supported.
	ErrUnsupported = errors.New("cannot be uncompressed")
	// ErrWindow is the error for a window that is larger than Options.Window.
	ErrWindow = errors.New("the compression window is too large")
)

// DefaultWindow is the window of zstd --long=27, the largest that zstd, Docker and
// containerd accept by default.
const DefaultWindow = 128 * units.MiB

// Options are the options of NewReader.
type Options struct {
	// Window limits the memory of zstd and xz, by default to DefaultWindow.
	Window units.Bytes
	// Warn receives warnings of unusual data that were accepted.
	Warn fault.Warn
}

// bufferSize is the size of reads from the source.
const bufferSize = 256 << 10

// Reader reads the uncompressed data. It reads the source to its end.
type Reader struct {
	kind   Kind
	o      Options
	input  *errorReader
	source *bufio.Reader // of input
	out    io.Reader
	// next starts the next member. It is set for formats whose decoder reads one.
	next   func() error
	close  func()
	failed error
}

// NewReader detects the compression of r and returns a reader of the contents.
func NewReader(r io.Reader, o Options) (*Reader, error) {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	d := &Reader{o: o, input: &errorReader{r: r}, close: func() {}}
	d.source = bufio.NewReaderSize(d.input, bufferSize)
	head, err := d.source.Peek(SniffLength)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	d.kind = Sniff(head)
	if err := d.begin(); err != nil {
		return nil, d.explain(err)
	}
	return d, nil
}

// Kind returns the compression of the source.
func (d *Reader) Kind() Kind { return d.kind }

func (d *Reader) begin() error {
	switch d.kind {
	case Plain:
		d.out = d.source
	case Gzip:
		return d.beginGzip()
	case Xz:
		return d.beginXz()
	case Zstd:
		z, err := zstd.NewReader(d.source, zstd.WithDecoderMaxWindow(uint64(d.o.Window)), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return err
		}
		d.out, d.close = z, z.Close
	case Bzip2:
		d.out = bzip2.NewReader(d.source)
	default:
		return fmt.Errorf("%w: %s; gzip, zstd, xz and bzip2 are supported", ErrUnsupported, d.kind)
	}
	return nil
}

// beginGzip reads one member at a time, so that data after the last one are no error.
func (d *Reader) beginGzip() error {
	z, err := gzip.NewReader(d.source)
	if err != nil {
		return err
	}
	z.Multistream(false)
	d.out = z
	d.next = func() error {
		err := z.Reset(d.source)
		z.Multistream(false)
		return err
	}
	return nil
}

func (d *Reader) Read(p []byte) (int, error) {
	if d.failed != nil {
		return 0, d.failed
	}
	n, err := d.out.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && d.another():
		if err := d.next(); err != nil {
			d.failed = d.explain(err)
		}
	case errors.Is(err, io.EOF), d.onlyTrailing(err):
		d.failed = d.rest()
	default:
		d.failed = d.explain(err)
	}
	return n, d.failed
}

// another reports whether another member follows.
func (d *Reader) another() bool {
	if d.next == nil {
		return false
	}
	head, err := d.source.Peek(6)
	return (err == nil || errors.Is(err, io.EOF)) && Sniff(head) == d.kind
}

// onlyTrailing reports whether a decoder that reads all members found other data
// instead of the next member.
func (d *Reader) onlyTrailing(err error) bool {
	if d.input.failed != nil {
		return false
	}
	// bzip2.reader.setup has no exported value for it.
	return errors.Is(err, zstd.ErrMagicMismatch) ||
		errors.Is(err, bzip2.StructuralError("bad magic value in continuation file"))
}

// rest reads the data after the compressed data. The decoder may have read the
// beginning of them.
func (d *Reader) rest() error {
	trailing := &counter{}
	if _, err := io.Copy(trailing, d.source); err != nil {
		return err
	}
	switch {
	case d.kind == Plain, trailing.n == 0:
	case trailing.other:
		d.o.Warn.Add("", "%d bytes after the end of the %s data are ignored", trailing.n, d.kind)
	default:
		d.o.Warn.Add("", "%d zeros after the end of the %s data are ignored", trailing.n, d.kind)
	}
	return io.EOF
}

// explain distinguishes damaged data from a source that failed.
func (d *Reader) explain(err error) error {
	switch {
	case d.input.failed != nil:
		return d.input.failed
	case errors.Is(err, ErrUnsupported), errors.Is(err, ErrWindow):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: more than %s", ErrWindow, d.o.Window)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("the %s data are %w: %w", d.kind, ErrTruncated, io.ErrUnexpectedEOF)
	case d.kind == Plain:
		return err
	}
	return fmt.Errorf("the %s data are %w: %w", d.kind, ErrDamaged, err)
}

// Close releases the decoder. It does not close the source.
func (d *Reader) Close() error {
	d.close()
	return nil
}

// errorReader keeps the error of its reader, which the decoder may replace.
type errorReader struct {
	r      io.Reader
	failed error
}

func (n *errorReader) Read(p []byte) (int, error) {
	read, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.failed = err
	}
	return read, err
}

// counter counts the bytes that are written to it.
type counter struct {
	n     int64
	other bool // some bytes are not zeros
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.other = c.other || len(bytes.Trim(p, "\x00")) > 0
	return len(p), nil
}
