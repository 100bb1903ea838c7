package registry

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// relogin gets a token from a registry that requires one only for an image.
// go-containerregistry logs in only if the reply to /v2/ requires it.
type relogin struct {
	next        http.RoundTripper
	registry    name.Registry
	credentials authn.Authenticator
	scopes      []string

	mu    sync.Mutex
	token http.RoundTripper // nil until then
}

func (r *relogin) RoundTrip(request *http.Request) (*http.Response, error) {
	if token := r.has(); token != nil && r.ours(request) {
		return token.RoundTrip(request)
	}
	response, err := r.next.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusUnauthorized || !r.ours(request) || !repeatable(request) || !wantsToken(response) {
		return response, err
	}
	token, err := r.login(request, response.Header)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	if request, err = again(request); err != nil {
		return nil, err
	}
	return token.RoundTrip(request)
}

func (r *relogin) has() http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.token
}

// ours reports whether a request is for an image of the registry, without a
// token.
func (r *relogin) ours(request *http.Request) bool {
	return request.URL.Host == r.registry.RegistryStr() && strings.HasPrefix(request.URL.Path, "/v2/") && request.URL.Path != "/v2/" &&
		!strings.HasPrefix(request.Header.Get("Authorization"), "Bearer ")
}

func wantsToken(response *http.Response) bool {
	for _, challenge := range response.Header.Values("Www-Authenticate") {
		if scheme, _, _ := strings.Cut(challenge, " "); strings.EqualFold(scheme, "bearer") {
			return true
		}
	}
	return false
}

func (r *relogin) login(request *http.Request, challenge http.Header) (http.RoundTripper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.token != nil {
		return r.token, nil
	}
	answer := &challenging{r.next, request.URL.Scheme, challenge}
	token, err := transport.NewWithContext(request.Context(), r.registry, r.credentials, answer, r.scopes)
	if err == nil {
		r.token = token
	}
	return token, err
}

var errOtherScheme = errors.New("the registry uses another scheme")

// challenging replies to requests for /v2/ with the challenge of another reply.
type challenging struct {
	next      http.RoundTripper
	scheme    string // the one that the registry speaks
	challenge http.Header
}

func (c *challenging) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Path != "/v2/" {
		return c.next.RoundTrip(request)
	}
	if request.URL.Scheme != c.scheme {
		return nil, errOtherScheme
	}
	return &http.Response{
		Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.challenge.Clone(), Body: http.NoBody, Request: request,
	}, nil
}
