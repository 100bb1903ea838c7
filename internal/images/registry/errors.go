package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
)

// The errors of registries, in addition to those of package manifest.
var (
	ErrNotFound = fault.New(fault.NotFound, "not in the registry")
	ErrDenied   = fault.New(fault.Denied, "access denied")
	// ErrStalled is the error for a connection without data for too long.
	ErrStalled = fault.New(fault.Unavailable, "stalled")
	// ErrBusy is the error for a registry that limits the rate of requests.
	ErrBusy = fault.New(fault.Busy, "too many requests")
	// ErrUnavailable is the error for a registry that cannot be reached or fails.
	ErrUnavailable = fault.New(fault.Unavailable, "registry unavailable")
	// ErrInsecure is the error for a registry without TLS, or with TLS that is not trusted.
	ErrInsecure = fault.New(fault.Refused, "not secure")
)

// errLater is the error for a registry that requests a longer pause than maxWait.
var errLater = errors.New("the registry requests a long pause")

var errLoop = errors.New("a loop of redirects")

// Error is an error of this package.
type Error = manifest.Error

// explain returns the error of a failed request with its kind and remedy.
func explain(err error) error {
	var (
		ours    *Error
		answer  *transport.Error
		netErr  net.Error
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
		syntax  *json.SyntaxError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &verify), errors.As(err, &unknown):
		return &Error{Kind: ErrInsecure, Err: err, Remedy: "add the registry's certificate authority with --tls-ca"}
	case errors.As(err, &record):
		return &Error{Kind: ErrInsecure, Err: err, Remedy: "use --insecure if the registry has only plain HTTP"}
	case errors.As(err, &answer): // after TLS errors: they may be joined with a reply to a ping by HTTP
		return explainAnswer(answer, err)
	case errors.As(err, &netErr) && netErr.Timeout():
		return &Error{Kind: ErrStalled, Err: err, Remedy: "try again later"}
	case errors.As(err, &syntax): // go-containerregistry parses only tokens itself
		return &Error{
			Kind: ErrUnavailable, Detail: "the reply of the token server is not JSON", Err: err,
			Remedy: "check the host in the name, and whether a proxy or a login page is in between",
		}
	}
	return &Error{Kind: ErrUnavailable, Err: quoting{err}}
}

func explainAnswer(answer *transport.Error, err error) error {
	e := &Error{Err: quoting{err}}
	if strings.Contains(strings.ToLower(err.Error()), "<html") {
		e.Detail = "the reply of the registry is a web page"
	}
	switch code := answer.StatusCode; {
	case code == http.StatusNotFound:
		e.Kind, e.Remedy = ErrNotFound, "check name and tag"
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e.Kind, e.Remedy = ErrDenied, "check the name, or log in: docker login"
	case code == http.StatusTooManyRequests:
		e.Kind, e.Remedy = ErrBusy, "try again later, or log in for a higher limit"
	case code >= 500:
		e.Kind, e.Remedy = ErrUnavailable, "try again later"
	}
	return e
}

// permanent reports whether trying again cannot help.
func permanent(err error) bool {
	if errors.Is(err, ErrStalled) {
		return false // the errors of net/http's timeouts match those of contexts
	}
	for _, kind := range []error{
		ErrNotFound, ErrDenied, ErrInsecure, errLater, errLoop, context.Canceled, context.DeadlineExceeded,
		manifest.ErrSize, manifest.ErrDigest, manifest.ErrFormat, manifest.ErrTooLarge, manifest.ErrMediaType,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	// Replies for which it can have been tried again already.
	var answer *transport.Error
	return errors.As(err, &answer)
}
