package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/contexts"
	"thinctl/internal/images/manifest"
)

// enough is the number of bytes after which earlier failures no longer count.
const enough = 1 << 20

// mostURLs bounds the URLs of a foreign layer that are tried.
const mostURLs = 4

// blob opens a blob for reading. The reader verifies it.
func (c *client) blob(ctx context.Context, d v1.Descriptor) io.ReadCloser {
	name := func(err error) error { return c.named(d.Digest.String(), err) }
	return manifest.Verify(&resuming{ctx: ctx, c: c, d: d, urls: d.URLs[:min(len(d.URLs), mostURLs)]}, d.Digest, d.Size, name)
}

// resuming reads a blob, and continues after stalls and broken connections.
type resuming struct {
	ctx      context.Context
	c        *client
	d        v1.Descriptor
	body     io.ReadCloser // nil between connections
	sized    bool          // the reply has a length, and its body cannot be longer
	at       int64         // bytes read so far
	failures int           // since mark
	mark     int64
	whole    bool     // the registry does not support ranges
	urls     []string // of a foreign layer, tried if the registry does not have the blob
	from     string   // the URL that is read, "" for the registry
}

func (r *resuming) Read(p []byte) (int, error) {
	for {
		if r.at >= r.d.Size {
			return r.end(p)
		}
		if r.body == nil {
			if err := r.connect(); err != nil {
				if err := r.again(err); err != nil {
					return 0, err
				}
				continue
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.d.Size-r.at)])
		r.at += int64(n)
		if n > 0 || len(p) == 0 {
			return n, nil // the next Read returns the error again
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			r.disconnect()
			if err := r.again(err); err != nil {
				return 0, err
			}
		}
	}
}

// end checks whether the body is longer than the descriptor says.
func (r *resuming) end(p []byte) (int, error) {
	if r.body == nil || r.sized || len(p) == 0 {
		return 0, io.EOF
	}
	n, _ := r.body.Read(p[:1])
	r.disconnect()
	if n > 0 {
		return n, nil
	}
	return 0, io.EOF
}

// again waits for the next try, or returns an error after the last one.
func (r *resuming) again(err error) error {
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	if final(err) {
		return r.elsewhere(err)
	}
	if r.at-r.mark >= enough {
		r.failures, r.mark = 0, r.at
	}
	if r.failures++; r.failures >= r.c.o.Tries {
		given := &Error{Err: err, Detail: fmt.Sprintf("given up after %d tries at byte %d of %d", r.failures, r.at, r.d.Size)}
		if !errors.Is(err, ErrStalled) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBusy) {
			given.Kind = manifest.ErrTruncated
		}
		return given
	}
	return contexts.Sleep(r.ctx, r.c.o.pause(r.failures))
}

// elsewhere switches to the next URL of a foreign layer.
func (r *resuming) elsewhere(err error) error {
	if len(r.urls) == 0 {
		if r.from != "" || len(r.d.URLs) > 0 {
			return &Error{Kind: manifest.ErrForeign, Detail: "neither the registry nor the layer's own addresses have it", Err: err}
		}
		return err
	}
	r.from, r.urls = r.urls[0], r.urls[1:]
	r.failures, r.mark, r.whole = 0, r.at, false
	r.c.o.Warn.Add(r.d.Digest.String(), "a foreign layer that is read from %s", plainText(r.from))
	return nil
}

// request returns the request for the blob to the registry, or to a URL of a foreign
// layer.
func (r *resuming) request() (*http.Request, error) {
	if r.from == "" {
		return r.c.request(r.ctx, http.MethodGet, "blobs", r.d.Digest.String())
	}
	request, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.from, nil)
	if err != nil {
		return nil, &Error{Kind: manifest.ErrFormat, Detail: fmt.Sprintf("the layer's address %q", plainText(r.from)), Err: err}
	}
	if err := r.c.policy.check(request.URL.Host); err != nil {
		return nil, err
	}
	return request, nil
}

// connect requests the rest of the blob.
func (r *resuming) connect() error {
	request, err := r.request()
	if err != nil {
		return err
	}
	if r.at > 0 && !r.whole {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.at, r.d.Size-1))
	}
	response, err := r.c.do(request)
	if err != nil {
		return err
	}
	r.body, r.sized = response.Body, response.ContentLength >= 0
	if err := r.accept(response); err != nil {
		r.disconnect()
		return err
	}
	return nil
}

func (r *resuming) accept(response *http.Response) error {
	begin := int64(0)
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		var err error
		if begin, err = r.rangeOf(response); err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable:
		r.whole = true
		return &Error{Kind: ErrUnavailable, Detail: "the registry does not send the rest of a partly read blob"}
	default:
		return check(response)
	}
	if length := response.ContentLength; length >= 0 && length != r.d.Size-begin {
		if head, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)); isWebPage(head) {
			return webPage(response, head)
		}
		return manifest.Errorf(manifest.ErrSize, "the registry has %d bytes from byte %d on, the manifest says %d in all", length, begin, r.d.Size)
	}
	if _, err := io.CopyN(io.Discard, response.Body, r.at-begin); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// rangeOf returns the start of the range that the registry sent.
func (r *resuming) rangeOf(response *http.Response) (int64, error) {
	header := response.Header.Get("Content-Range")
	var begin, end, total int64
	if _, err := fmt.Sscanf(header, "bytes %d-%d/%d", &begin, &end, &total); err != nil {
		if _, err := fmt.Sscanf(header, "bytes %d-%d/*", &begin, &end); err != nil {
			r.whole = true
			return 0, &Error{Kind: ErrUnavailable, Detail: fmt.Sprintf("the registry sent the range %q", header)}
		}
		total = r.d.Size
	}
	switch {
	case total != r.d.Size:
		return 0, manifest.Errorf(manifest.ErrSize, "the registry has %d bytes, the manifest says %d", total, r.d.Size)
	case begin < 0 || begin > r.at:
		r.whole = true
		return 0, &Error{Kind: ErrUnavailable, Detail: fmt.Sprintf("the registry continued at byte %d instead of %d", begin, r.at)}
	}
	return begin, nil
}

func (r *resuming) disconnect() {
	if r.body != nil {
		_ = r.body.Close() // closing a body that is only read loses nothing
		r.body = nil
	}
}

func (r *resuming) Close() error {
	r.disconnect()
	return nil
}
