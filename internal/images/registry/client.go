package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"thinctl/internal/images/manifest"
)

// client is a logged-in client of one repository.
type client struct {
	repository name.Repository
	transport  http.RoundTripper
	http       *http.Client
	o          Options
	policy     policy
	op, object string // for errors
}

func newClient(ctx context.Context, op string, ref name.Reference, scope string, o Options) (*client, error) {
	c := &client{o: o.withDefaults(), op: op, object: ref.Name()}
	var err error
	if c.repository, err = withScheme(ref.Context(), o.Insecure); err != nil {
		return nil, c.named("", err)
	}
	c.o.Warn = c.o.Warn.In(c.object, "")
	if c.o.Keychain == nil {
		c.o.Keychain = keychain{warn: c.o.Warn, wait: c.o.Stall}
	}
	c.policy = policy{registry: c.repository.RegistryStr(), insecure: o.Insecure}
	base, err := c.o.httpTransport(c.policy)
	if err != nil {
		return nil, c.named("", err)
	}
	credentials, err := authn.Resolve(ctx, c.o.Keychain, c.repository)
	if err != nil {
		return nil, c.named("", &Error{Detail: "cannot read the registry's credentials", Err: err})
	}
	retries := &retryTransport{&httpsTransport{base, o.Insecure}, c.o}
	replies := &replyTransport{next: retries, policy: c.policy, warn: c.o.Warn}
	agent := transport.NewUserAgent(replies, c.o.UserAgent)
	scopes := []string{c.repository.Scope(scope)}
	login := &loginTransport{next: agent, registry: c.repository.Registry, credentials: credentials, scopes: scopes}
	// For a *transport.Wrapper, go-containerregistry does not add its own retries, which
	// ignore the context.
	c.transport, err = transport.NewWithContext(ctx, c.repository.Registry, credentials, login, scopes)
	if err != nil {
		return nil, c.named("", explain(err))
	}
	c.http = &http.Client{Transport: c.transport, CheckRedirect: c.policy.redirect}
	return c, nil
}

func (c *client) named(part string, err error) error { return manifest.In(c.op, c.object, part, err) }

// request returns a request for a manifest or blob of the repository.
func (c *client) request(ctx context.Context, method, kind, id string) (*http.Request, error) {
	r := c.repository
	url := fmt.Sprintf("%s://%s/v2/%s/%s/%s", r.Scheme(), r.RegistryStr(), r.RepositoryStr(), kind, id)
	return http.NewRequestWithContext(ctx, method, url, nil)
}

// do sends a request. The reply's body fails with ErrStalled if no data arrives.
func (c *client) do(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(request.Context())
	response, err := c.http.Do(request.WithContext(ctx))
	if err != nil {
		cancel(nil)
		if cause := context.Cause(request.Context()); cause != nil {
			return nil, cause
		}
		return nil, explain(err)
	}
	response.Body = newStallReader(ctx, cancel, response.Body, c.o.Stall)
	return response, nil
}

// stallReader is a body that fails if no data arrives while it is read.
type stallReader struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	stall  time.Duration
	timer  *time.Timer
}

func newStallReader(
	ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, stall time.Duration,
) *stallReader {
	r := &stallReader{ctx: ctx, cancel: cancel, body: body, stall: stall}
	r.timer = time.AfterFunc(stall, r.expire)
	r.timer.Stop()
	return r
}

func (r *stallReader) expire() {
	detail := fmt.Sprintf("no data arrived for %v", r.stall)
	r.cancel(&Error{Kind: ErrStalled, Detail: detail, Remedy: "try again later"})
}

func (r *stallReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.stall)
	n, err := r.body.Read(p)
	r.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(r.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (r *stallReader) Close() error {
	r.timer.Stop()
	r.cancel(nil)
	return r.body.Close()
}
