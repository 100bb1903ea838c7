package registry

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"thinctl/fault"

	"github.com/google/go-containerregistry/pkg/name"
)

// local reports whether a host, with or without a port, is this host.
func local(host string) bool {
	host = hostname(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, ok := address(host)
	return ok && ip.IsLoopback()
}

// hostname returns a host without its port, the brackets of IPv6 and the final dot.
func hostname(host string) string {
	if only, _, err := net.SplitHostPort(host); err == nil {
		host = only
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// address returns the IP address of a host that is given as one.
func address(host string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(hostname(host))
	return ip.WithZone("").Unmap(), err == nil
}

// policy decides to which hosts a registry may refer the client: in redirects, in
// locations of uploads, and as its token server. It keeps a registry from using the client
// to reach services that only this host can reach.
type policy struct {
	registry string // its host, with its port if it has one
	insecure bool
}

// metadataAddresses lists addresses where clouds serve the credentials of a virtual
// machine to that machine, in addition to the link-local addresses.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
}

// check returns an error for a host in a reply that is not allowed. The addresses of a
// name are checked when it is dialed.
func (p policy) check(host string) error {
	if hostname(host) == hostname(p.registry) {
		return nil
	}
	if ip, ok := address(host); ok {
		return p.checkAddress(host, ip, false)
	}
	if local(host) {
		return p.checkAddress(host, netip.IPv6Loopback(), false)
	}
	return nil
}

// checkAddress is check for an address. A name may resolve to a private address, since
// companies run the storage of their registries in this way.
func (p policy) checkAddress(host string, ip netip.Addr, resolved bool) error {
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), slices.Contains(metadataAddresses, ip):
		return &Error{
			Kind: ErrInsecure, Detail: "the registry refers to " + host + ", an address of the machine's own network or cloud",
			Remedy: "use that host as the registry if it is one; no option allows the reference",
		}
	case p.insecure, local(p.registry):
		return nil
	case ip.IsLoopback(), ip.IsUnspecified(), ip.IsPrivate() && !resolved && !p.private():
		return &Error{
			Kind: ErrInsecure, Detail: "the registry refers to the private address " + host,
			Remedy: "use --insecure to allow it",
		}
	}
	return nil
}

// private reports whether the registry has a private address by the user's choice.
func (p policy) private() bool {
	ip, ok := address(p.registry)
	return ok && ip.IsPrivate()
}

// redirect is an http.Client's CheckRedirect.
func (p policy) redirect(request *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return &Error{Kind: ErrUnavailable, Detail: "redirected more than 10 times", Err: errLoop}
	}
	return p.check(request.URL.Host)
}

// dialer dials hosts, and checks the addresses of their names. It does not check the
// registry and proxies, which are the user's choice.
type dialer struct {
	net.Dialer
	policy policy
	proxy  func(host string) bool
}

func (d *dialer) DialContext(ctx context.Context, network, to string) (net.Conn, error) {
	if hostname(to) == hostname(d.policy.registry) || d.proxy(to) {
		return d.Dialer.DialContext(ctx, network, to)
	}
	checked := d.Dialer
	checked.Control = func(_, resolved string, _ syscall.RawConn) error {
		ip, ok := address(resolved)
		if !ok {
			return &Error{Kind: fault.Invalid, Detail: "not an address: " + resolved}
		}
		return d.policy.checkAddress(hostname(to)+" ("+ip.String()+")", ip, true)
	}
	return checked.DialContext(ctx, network, to)
}

// httpsTransport allows plain HTTP only to this host. go-containerregistry would also use it for
// private addresses.
type httpsTransport struct {
	next     http.RoundTripper
	insecure bool
}

func (t *httpsTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !t.insecure && !local(request.URL.Host) {
		return nil, &Error{
			Kind: ErrInsecure, Detail: "plain HTTP to " + request.URL.Host,
			Remedy: "use --insecure to allow it",
		}
	}
	return t.next.RoundTrip(request)
}

// withScheme returns the repository with its allowed scheme.
func withScheme(repository name.Repository, insecure bool) (name.Repository, error) {
	var options []name.Option
	if insecure || local(repository.RegistryStr()) {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(repository.RegistryStr(), options...)
	repository.Registry = registry
	return repository, err
}
