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

// loginTransport gets a token from a registry that requires one only for an image.
// go-containerregistry logs in only if the reply to /v2/ requires it.
type loginTransport struct {
	next        http.RoundTripper
	registry    name.Registry
	credentials authn.Authenticator
	scopes      []string

	mu    sync.Mutex
	token http.RoundTripper // nil before the login
}

func (t *loginTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if token := t.tokenTransport(); token != nil && t.needsToken(request) {
		return token.RoundTrip(request)
	}
	response, err := t.next.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusUnauthorized || !t.needsToken(request) || !repeatable(request) ||
		!wantsToken(response) {
		return response, err
	}
	token, err := t.login(request, response.Header)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	if request, err = rewind(request); err != nil {
		return nil, err
	}
	return token.RoundTrip(request)
}

func (t *loginTransport) tokenTransport() http.RoundTripper {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token
}

// needsToken reports whether a request is for an image of the registry and has no token.
func (t *loginTransport) needsToken(request *http.Request) bool {
	return request.URL.Host == t.registry.RegistryStr() && strings.HasPrefix(request.URL.Path, "/v2/") &&
		request.URL.Path != "/v2/" && !strings.HasPrefix(request.Header.Get("Authorization"), "Bearer ")
}

func wantsToken(response *http.Response) bool {
	for _, challenge := range response.Header.Values("Www-Authenticate") {
		if scheme, _, _ := strings.Cut(challenge, " "); strings.EqualFold(scheme, "bearer") {
			return true
		}
	}
	return false
}

func (t *loginTransport) login(request *http.Request, challenge http.Header) (http.RoundTripper, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != nil {
		return t.token, nil
	}
	reply := &challengeTransport{t.next, request.URL.Scheme, challenge}
	token, err := transport.NewWithContext(request.Context(), t.registry, t.credentials, reply, t.scopes)
	if err == nil {
		t.token = token
	}
	return token, err
}

var errOtherScheme = errors.New("the registry uses another scheme")

// challengeTransport replies to requests for /v2/ with the challenge of another reply.
type challengeTransport struct {
	next      http.RoundTripper
	scheme    string // the scheme of the registry
	challenge http.Header
}

func (t *challengeTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Path != "/v2/" {
		return t.next.RoundTrip(request)
	}
	if request.URL.Scheme != t.scheme {
		return nil, errOtherScheme
	}
	return &http.Response{
		Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: t.challenge.Clone(), Body: http.NoBody, Request: request,
	}, nil
}
