package registry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// network answers requests by their URL, and remembers them.
type network struct {
	answers map[string]http.Header // 307 with a Location, 401 with a challenge; else 200
	asked   []string
}

func (n *network) RoundTrip(request *http.Request) (*http.Response, error) {
	at := request.URL.String()
	n.asked = append(n.asked, at)
	if request.Host != "" && request.Host != request.URL.Host {
		return nil, errors.New("for another host: " + request.Host)
	}
	header := n.answers[at]
	response := &http.Response{StatusCode: http.StatusOK, Header: header.Clone(), Body: io.NopCloser(strings.NewReader(`{"token":"abc"}`)), Request: request}
	switch {
	case header.Get("Location") != "":
		response.StatusCode = http.StatusTemporaryRedirect
	case header.Get("Www-Authenticate") != "" && request.Header.Get("Authorization") == "":
		response.StatusCode = http.StatusUnauthorized
	}
	return response, nil
}

// A private address that is allowed is reached, although go-containerregistry
// would refuse it, and goes by its own name on the wire.
func TestPrivateAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		registry string
		insecure bool
		to       string
		kind     error // nil: reached
	}{
		"another private one":     {"10.77.0.1:5000", false, "http://10.77.0.2:9000/b?sig=1", nil},
		"with --insecure":         {"registry.example", true, "http://10.77.0.2/b", nil},
		"of IPv6":                 {"registry.example", true, "http://[fd00::2]:9000/b", nil},
		"this host, --insecure":   {"registry.example", true, "http://127.0.0.1:9000/b", nil},
		"another port of its own": {"10.77.0.1:5000", false, "http://10.77.0.1:9000/b", nil},
		"not allowed":             {"registry.example", false, "http://10.77.0.2:9000/b", ErrInsecure},
		"this host":               {"10.77.0.1:5000", false, "http://127.0.0.1:9000/b", ErrInsecure},
		"metadata":                {"10.77.0.1:5000", true, "http://169.254.169.254/b", ErrInsecure},
	} {
		t.Run(name, func(t *testing.T) {
			from := "http://" + c.registry + "/v2/a/blobs/x"
			wire := &network{answers: map[string]http.Header{from: {"Location": {c.to}}}}
			rules := policy{c.registry, c.insecure}
			client := &http.Client{Transport: &replyTransport{next: wire, policy: rules}, CheckRedirect: rules.redirect}
			response, err := client.Get(from)
			want := []string{from, c.to}
			if c.kind != nil {
				want = want[:1]
			} else if err == nil {
				err = response.Body.Close()
			}
			if !errors.Is(err, c.kind) || !slices.Equal(wire.asked, want) {
				t.Errorf("%v, asked %q, want %v and %q", err, wire.asked, c.kind, want)
			}

			// The same for the address of a token server.
			ping := "http://" + c.registry + "/v2/"
			challenge := `Bearer realm="` + c.to + `",service="s"`
			wire = &network{answers: map[string]http.Header{ping: {"Www-Authenticate": {challenge}}}}
			reg, err := insecurely(c.registry)
			if err != nil {
				t.Fatal(err)
			}
			_, err = transport.NewWithContext(t.Context(), reg, authn.Anonymous, &plainOnly{&replyTransport{next: wire, policy: rules}}, []string{"x"})
			reached := slices.ContainsFunc(wire.asked, func(at string) bool { return strings.HasPrefix(at, strings.SplitN(c.to, "?", 2)[0]+"?") })
			if !errors.Is(err, c.kind) || reached != (c.kind == nil) {
				t.Errorf("token server: %v, asked %q, want %v", err, wire.asked, c.kind)
			}
		})
	}
}

func insecurely(host string) (name.Registry, error) { return name.NewRegistry(host, name.Insecure) }

// plainOnly is a network where nothing speaks HTTPS.
type plainOnly struct{ http.RoundTripper }

func (p *plainOnly) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme == "https" {
		return nil, errors.New("connection refused")
	}
	return p.RoundTripper.RoundTrip(request)
}

// The addresses that a name resolves to are checked when it is dialed.
func TestDialedAddresses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	never := func(string) bool { return false }
	for name, c := range map[string]struct {
		dialer dialer
		kind   error
	}{
		"another's":  {dialer{policy: policy{"registry.example", false}, proxy: never}, ErrInsecure},
		"allowed":    {dialer{policy: policy{"registry.example", true}, proxy: never}, nil},
		"its own":    {dialer{policy: policy{"localhost:1", false}, proxy: never}, nil},
		"of a proxy": {dialer{policy: policy{"registry.example", false}, proxy: func(host string) bool { return host == "localhost:"+port }}, nil},
	} {
		conn, err := c.dialer.DialContext(context.Background(), "tcp", "localhost:"+port)
		if err == nil {
			err = conn.Close()
		}
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}
