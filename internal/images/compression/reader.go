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

// What is wrong with compressed data, for errors.Is. The source's own errors are
// passed on as they are.
var (
	// ErrTruncated: the data end too early.
	ErrTruncated = errors.New("cut short")
	// ErrDamaged: the data are not what the compressor wrote.
	ErrDamaged = errors.New("damaged")
	// ErrUnsupported: compressed in a way that is recognized but not read.
	ErrUnsupported = errors.New("cannot be uncompressed")
	// ErrWindow: the window is larger than Options.Window.
	ErrWindow = errors.New("the compression window is too large")
)

// DefaultWindow is that of zstd --long=27, the most that zstd itself takes
// unasked. Docker and containerd take it too.
const DefaultWindow = 128 * units.MiB

// Options of NewReader.
type Options struct {
	// Window bounds the memory of zstd and xz, default DefaultWindow.
	Window units.Bytes
	// Warn receives what was accepted although it is unusual.
	Warn fault.Warn
}

// bufferSize is how much is read from the source at once.
const bufferSize = 256 << 10

// Reader reads the uncompressed data. The source is read to its end.
type Reader struct {
	kind   Kind
	o      Options
	noted  *noting
	source *bufio.Reader
	out    io.Reader
	// next begins the member that follows, of formats whose decoder reads one.
	next   func() error
	close  func()
	failed error
}

// NewReader finds out how r is compressed and returns a reader of what is in it.
func NewReader(r io.Reader, o Options) (*Reader, error) {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	d := &Reader{o: o, noted: &noting{r: r}, close: func() {}}
	d.source = bufio.NewReaderSize(d.noted, bufferSize)
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

// Kind returns the source's compression.
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

// beginGzip reads member by member: what follows the last one is no error.
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

// another reports whether one more member follows.
func (d *Reader) another() bool {
	if d.next == nil {
		return false
	}
	head, err := d.source.Peek(6)
	return (err == nil || errors.Is(err, io.EOF)) && Sniff(head) == d.kind
}

// onlyTrailing reports whether a decoder that reads members by itself has found
// none where one could begin.
func (d *Reader) onlyTrailing(err error) bool {
	if d.noted.failed != nil {
		return false
	}
	// bzip2.reader.setup has no other value for it.
	return errors.Is(err, zstd.ErrMagicMismatch) ||
		errors.Is(err, bzip2.StructuralError("bad magic value in continuation file"))
}

// rest reads what follows the compressed data, which the decoder may have
// begun with.
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
	case d.noted.failed != nil:
		return d.noted.failed
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

// counter counts what is written to it.
type counter struct {
	n     int64
	other bool // than zeros
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.other = c.other || len(bytes.Trim(p, "\x00")) > 0
	return len(p), nil
}
