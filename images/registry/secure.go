package registry

import (
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// local tells whether a host, with or without a port, is this one.
func local(host string) bool {
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// guarding lets plain HTTP go to this host only. go-containerregistry would
// fall back to it for private addresses too.
type guarding struct {
	next     http.RoundTripper
	insecure bool
}

func (g *guarding) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !g.insecure && !local(request.URL.Host) {
		return nil, &Error{
			Kind: ErrInsecure, Detail: "plain HTTP to " + request.URL.Host,
			Remedy: "use --insecure if that is meant",
		}
	}
	return g.next.RoundTrip(request)
}

// schemed is the repository with the scheme allowed for it.
func schemed(repository name.Repository, insecure bool) (name.Repository, error) {
	var options []name.Option
	if insecure || local(repository.RegistryStr()) {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(repository.RegistryStr(), options...)
	repository.Registry = registry
	return repository, err
}

// checkRedirect keeps a registry from sending us on to what only we can reach.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return &Error{Kind: ErrUnavailable, Detail: "redirected more than 10 times"}
	}
	to := request.URL.Hostname()
	ip := net.ParseIP(to)
	if to == via[0].URL.Hostname() || local(via[0].URL.Host) {
		return nil
	}
	if local(to) || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
		return &Error{Kind: ErrInsecure, Detail: "redirected to the private address " + to}
	}
	return nil
}
