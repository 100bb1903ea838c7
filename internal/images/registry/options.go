package registry

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
)

// Options of Pull and Push.
type Options struct {
	// Insecure lets any registry speak plain HTTP, or show any certificate.
	Insecure bool
	// CA is a file of certificates in PEM to be trusted beside the system's.
	CA string
	// Keychain has the credentials, default Docker's config file.
	Keychain authn.Keychain
	// Platform is chosen of an index, default the host's.
	Platform v1.Platform
	// Parallel is how many layers are sent at once, default 3.
	Parallel int
	// Stall is how long nothing may come, default 30 s.
	Stall time.Duration
	// Tries is how often a transfer that gets nowhere is tried, default 5.
	Tries int
	// Wait is that before the second try, default 1 s; it doubles each time.
	Wait time.Duration
	// Progress is told of layers being sent, from one goroutine at a time.
	Progress func(Progress)
	// Warn receives what was accepted although it is unusual.
	Warn fault.Warn
	// UserAgent is what the registry is told, default thinctl.
	UserAgent string
}

// Progress is how far one layer's transfer has come.
type Progress struct {
	Layer int     // from the base, 0 is the first
	ID    v1.Hash // the diff id
	Done  int64   // bytes of the blob so far
	Total int64   // the blob's size, -1 where it is not known yet
	Ended bool    // nothing more comes
	Had   bool    // the registry had it already
}

func (o Options) withDefaults() Options {
	if o.Platform.OS == "" {
		o.Platform = manifest.HostPlatform()
	}
	if o.Parallel <= 0 {
		o.Parallel = 3
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 5
	}
	if o.Wait <= 0 {
		o.Wait = time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "thinctl"
	}
	return o
}

// httpTransport speaks HTTP/1.1: with a connection for each transfer, one that
// stalls holds up no other, and resuming never goes back to it.
func (o Options) httpTransport(p policy) (*http.Transport, error) {
	config := &tls.Config{InsecureSkipVerify: o.Insecure, MinVersion: tls.VersionTLS12} //nolint:gosec // asked for
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, &Error{Kind: fault.Invalid, Detail: o.CA + " has no certificate in PEM"}
		}
		config.RootCAs = pool
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	proxies := &proxies{}
	dial := &dialer{Dialer: net.Dialer{Timeout: o.Stall, KeepAlive: o.Stall}, policy: p, proxy: proxies.has}
	return &http.Transport{
		Proxy:                 proxies.of,
		DialContext:           dial.DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   o.Stall,
		ResponseHeaderTimeout: 4 * o.Stall, // a registry may take its time over what it was sent
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   o.Parallel + 1,
		DisableCompression:    true, // blobs must come as they are
		Protocols:             protocols,
	}, nil
}

// proxies remembers the proxies that were used, which the environment names.
type proxies struct{ seen sync.Map }

func (p *proxies) of(request *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(request)
	if proxy != nil {
		p.seen.Store(bare(proxy.Host), true)
	}
	return proxy, err
}

func (p *proxies) has(host string) bool {
	_, seen := p.seen.Load(bare(host))
	return seen
}
