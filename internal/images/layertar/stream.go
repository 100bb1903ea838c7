package layertar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"thinctl/internal/images/compression"
	"thinctl/units"
)

const (
	chunkSize = 256 << 10
	chunks    = 8 // that wait for each reader
)

// chunk is a piece of the uncompressed stream, which two readers share.
type chunk struct {
	data    []byte
	buf     *[chunkSize]byte
	err     error // the end of the stream, after data
	readers atomic.Int32
}

// stream uncompresses a layer once, for both the digest and the entries.
type stream struct {
	src     *source
	options compression.Options
	limit   int64
	pool    sync.Pool
	digest  chan *chunk
	scan    chan *chunk
}

func newStream(r io.Reader, limits Limits, o ApplyOptions) *stream {
	return &stream{
		src:     &source{r: r, progress: o.Progress},
		options: compression.Options{Window: limits.Window, Warn: o.Warn},
		limit:   int64(limits.Bytes),
		pool:    sync.Pool{New: func() any { return new([chunkSize]byte) }},
		digest:  make(chan *chunk, chunks),
		scan:    make(chan *chunk, chunks),
	}
}

// run reads to the end of the stream or the first error, which both readers receive.
func (s *stream) run(ctx context.Context) error {
	plain, err := compression.NewReader(s.src, s.options)
	if err == nil {
		defer func() { _ = plain.Close() }()
	}
	total := int64(0)
	for {
		c := &chunk{buf: s.pool.Get().(*[chunkSize]byte), err: err}
		c.readers.Store(2)
		if err == nil {
			var n int
			n, c.err = fill(plain, c.buf[:])
			c.data = c.buf[:n]
			if total += int64(n); total > s.limit {
				c.err = overLimit("bytes", "more than %s uncompressed", units.Bytes(s.limit))
				c.data = c.data[:max(0, int64(n)-(total-s.limit))]
			}
		}
		if c.err != nil && c.err != io.EOF { //nolint:errorlint // a wrapped EOF is no end
			c.err = s.explain(c.err)
		}
		for _, to := range []chan *chunk{s.digest, s.scan} {
			select {
			case to <- c:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if c.err != nil {
			return nil
		}
	}
}

// explain distinguishes errors of the source from those of the contents.
func (s *stream) explain(err error) error {
	switch {
	case s.src.err != nil:
		return fmt.Errorf("read the layer: %w", s.src.err)
	case errors.Is(err, ErrLimit), errors.Is(err, ErrFormat):
		return err
	case errors.Is(err, compression.ErrWindow):
		return overLimit("window", "%w", err)
	default:
		return wrong(ErrFormat, "%w", err)
	}
}

func (s *stream) release(c *chunk) {
	if c.readers.Add(-1) == 0 {
		s.pool.Put(c.buf)
	}
}

// sum returns the digest of the whole stream.
func (s *stream) sum(ctx context.Context) (diffID string, size int64, err error) {
	h := sha256.New()
	for {
		select {
		case c := <-s.digest:
			h.Write(c.data)
			size += int64(len(c.data))
			err := c.err
			s.release(c)
			if err == io.EOF { //nolint:errorlint // a wrapped EOF is no end
				return "sha256:" + hex.EncodeToString(h.Sum(nil)), size, nil
			}
			if err != nil {
				return "", 0, nil // the scan returns it, with the entry
			}
		case <-ctx.Done():
			return "", 0, context.Cause(ctx)
		}
	}
}

// chunkReader is the reader of the uncompressed stream for the scan.
type chunkReader struct {
	ctx  context.Context
	s    *stream
	now  *chunk
	rest []byte
	read int64
	err  error
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if r.now != nil {
			r.err = r.now.err
			r.s.release(r.now)
			if r.now = nil; r.err != nil {
				continue
			}
		}
		select {
		case r.now = <-r.s.scan:
			r.rest = r.now.data
		case <-r.ctx.Done():
			r.err = context.Cause(r.ctx)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.read += int64(n)
	return n, nil
}

// source is the caller's reader. It keeps the errors of the reader, which the
// decompressor may replace.
type source struct {
	r        io.Reader
	n        int64
	progress func(int64)
	err      error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { // io.Reader's contract
		s.err = err
	}
	s.n += int64(n)
	if s.progress != nil && n > 0 {
		s.progress(s.n)
	}
	return n, err
}

// fill reads like io.ReadFull, but returns io.EOF at the end in any case.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}
