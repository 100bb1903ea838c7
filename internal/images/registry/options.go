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

// Options change how Pull and Push work.
type Options struct {
	// Insecure allows plain HTTP and any certificate for all registries.
	Insecure bool
	// CA is a PEM file of certificates that are trusted in addition to the system's.
	CA string
	// Keychain returns the credentials; by default from Docker's config file.
	Keychain authn.Keychain
	// Platform selects an image of an index; the host's by default.
	Platform v1.Platform
	// Parallel is the number of layers that are sent concurrently; 0 for 3.
	Parallel int
	// Stall is the longest time without data; 0 for 30 s.
	Stall time.Duration
	// Tries is the number of attempts for a transfer without progress; 0 for 5.
	Tries int
	// Wait is the pause before the second try; 0 for 1 s. It doubles each time.
	Wait time.Duration
	// Progress is called when a layer advances, by one goroutine at a time.
	Progress func(Progress)
	// Warn receives warnings about unusual input that was accepted.
	Warn fault.Warn
	// UserAgent is sent to the registry; thinctl by default.
	UserAgent string
}

// Progress is the progress of one layer's transfer.
type Progress struct {
	Layer int     // index; 0 for the base
	ID    v1.Hash // the diff id
	Done  int64   // bytes of the blob so far
	Total int64   // the size of the blob, -1 if it is not known yet
	Ended bool    // the transfer has ended
	Had   bool    // the registry had the blob already
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

// httpTransport uses HTTP/1.1. With a connection for each transfer, a stalled one does not
// block others, and is not used again.
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
		ResponseHeaderTimeout: 4 * o.Stall, // a registry may need time to process an upload
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   o.Parallel + 1,
		DisableCompression:    true, // blobs must not be changed
		Protocols:             protocols,
	}, nil
}

// proxies records the proxies from the environment that were used.
type proxies struct{ seen sync.Map }

func (p *proxies) of(request *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(request)
	if proxy != nil {
		p.seen.Store(hostname(proxy.Host), true)
	}
	return proxy, err
}

func (p *proxies) has(host string) bool {
	_, seen := p.seen.Load(hostname(host))
	return seen
}
