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

// failureReset is the number of bytes after which earlier failures no longer count.
const failureReset = 1 << 20

// maxURLs bounds the URLs of a foreign layer that are tried.
const maxURLs = 4

// blob opens a blob for reading. The reader verifies it.
func (c *client) blob(ctx context.Context, d v1.Descriptor) io.ReadCloser {
	name := func(err error) error { return c.named(d.Digest.String(), err) }
	r := &blobReader{ctx: ctx, c: c, d: d, urls: d.URLs[:min(len(d.URLs), maxURLs)]}
	return manifest.Verify(r, d.Digest, d.Size, name)
}

// blobReader reads a blob, and continues after stalls and broken connections.
type blobReader struct {
	ctx      context.Context
	c        *client
	d        v1.Descriptor
	body     io.ReadCloser // nil between connections
	sized    bool          // the reply has a length, and its body cannot be longer
	at       int64         // bytes read so far
	failures int           // since the byte at mark
	mark     int64
	noRanges bool     // the registry does not support ranges
	urls     []string // of a foreign layer, tried if the registry does not have the blob
	url      string   // the URL that is read, "" for the registry
}

func (r *blobReader) Read(p []byte) (int, error) {
	for {
		if r.at >= r.d.Size {
			return r.end(p)
		}
		if r.body == nil {
			if err := r.connect(); err != nil {
				if err := r.retry(err); err != nil {
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
			if err := r.retry(err); err != nil {
				return 0, err
			}
		}
	}
}

// end checks whether the body is longer than the size in the descriptor.
func (r *blobReader) end(p []byte) (int, error) {
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

// retry waits for the next try, or returns an error after the last one.
func (r *blobReader) retry(err error) error {
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	if permanent(err) {
		return r.nextURL(err)
	}
	if r.at-r.mark >= failureReset {
		r.failures, r.mark = 0, r.at
	}
	if r.failures++; r.failures >= r.c.o.Tries {
		given := &Error{
			Err:    err,
			Detail: fmt.Sprintf("given up after %d tries at byte %d of %d", r.failures, r.at, r.d.Size),
		}
		if !errors.Is(err, ErrStalled) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBusy) {
			given.Kind = manifest.ErrTruncated
		}
		return given
	}
	return contexts.Sleep(r.ctx, r.c.o.pause(r.failures))
}

// nextURL switches to the next URL of a foreign layer.
func (r *blobReader) nextURL(err error) error {
	if len(r.urls) == 0 {
		if r.url != "" || len(r.d.URLs) > 0 {
			return &Error{
				Kind: manifest.ErrForeign, Detail: "neither the registry nor the layer's own addresses have it",
				Err: err,
			}
		}
		return err
	}
	r.url, r.urls = r.urls[0], r.urls[1:]
	r.failures, r.mark, r.noRanges = 0, r.at, false
	r.c.o.Warn.Add(r.d.Digest.String(), "a foreign layer that is read from %s", plainText(r.url))
	return nil
}

// request returns the request for the blob to the registry, or to a URL of a foreign
// layer.
func (r *blobReader) request() (*http.Request, error) {
	if r.url == "" {
		return r.c.request(r.ctx, http.MethodGet, "blobs", r.d.Digest.String())
	}
	request, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, &Error{
			Kind: manifest.ErrFormat, Detail: fmt.Sprintf("the layer's address %q", plainText(r.url)),
			Err: err,
		}
	}
	if err := r.c.policy.check(request.URL.Host); err != nil {
		return nil, err
	}
	return request, nil
}

// connect requests the rest of the blob.
func (r *blobReader) connect() error {
	request, err := r.request()
	if err != nil {
		return err
	}
	if r.at > 0 && !r.noRanges {
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

func (r *blobReader) accept(response *http.Response) error {
	begin := int64(0)
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		var err error
		if begin, err = r.rangeOf(response); err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable:
		r.noRanges = true
		return &Error{Kind: ErrUnavailable, Detail: "the registry does not send the rest of a partly read blob"}
	default:
		return check(response)
	}
	if length := response.ContentLength; length >= 0 && length != r.d.Size-begin {
		if head, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)); isWebPage(head) {
			return webPage(response, head)
		}
		return manifest.Errorf(
			manifest.ErrSize, "the registry has %d bytes from byte %d on, the manifest says %d in all",
			length, begin, r.d.Size,
		)
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
func (r *blobReader) rangeOf(response *http.Response) (int64, error) {
	header := response.Header.Get("Content-Range")
	var begin, end, total int64
	if _, err := fmt.Sscanf(header, "bytes %d-%d/%d", &begin, &end, &total); err != nil {
		if _, err := fmt.Sscanf(header, "bytes %d-%d/*", &begin, &end); err != nil {
			r.noRanges = true
			return 0, &Error{Kind: ErrUnavailable, Detail: fmt.Sprintf("the registry sent the range %q", header)}
		}
		total = r.d.Size
	}
	switch {
	case total != r.d.Size:
		return 0, manifest.Errorf(manifest.ErrSize, "the registry has %d bytes, the manifest says %d", total, r.d.Size)
	case begin < 0 || begin > r.at:
		r.noRanges = true
		return 0, &Error{
			Kind:   ErrUnavailable,
			Detail: fmt.Sprintf("the registry continued at byte %d instead of %d", begin, r.at),
		}
	}
	return begin, nil
}

func (r *blobReader) disconnect() {
	if r.body != nil {
		_ = r.body.Close() // closing a body that is only read loses nothing
		r.body = nil
	}
}

func (r *blobReader) Close() error {
	r.disconnect()
	return nil
}
