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

	"thinctl/internal/images/manifest"
)

// What went wrong, for errors.Is, beside package manifest's.
var (
	// ErrNotFound: the registry has no such image or blob.
	ErrNotFound = errors.New("not in the registry")
	// ErrDenied: the registry wants other credentials.
	ErrDenied = errors.New("access denied")
	// ErrStalled: nothing came for too long.
	ErrStalled = errors.New("stalled")
	// ErrBusy: the registry takes no more requests for now.
	ErrBusy = errors.New("too many requests")
	// ErrUnavailable: the registry cannot be reached or fails.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrInsecure: the registry has no TLS, or none to be trusted.
	ErrInsecure = errors.New("not secure")
)

// errLater: the registry asks for a longer wait than maxWait.
var errLater = errors.New("the registry asks to wait")

// errLoop: too many redirects.
var errLoop = errors.New("a loop of redirects")

// Error is every error of this package.
type Error = manifest.Error

// explain gives a failed request its kind and remedy.
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
		return &Error{Kind: ErrInsecure, Err: err, Remedy: "give the registry's authority with --tls-ca"}
	case errors.As(err, &record):
		return &Error{Kind: ErrInsecure, Err: err, Remedy: "use --insecure if the registry is meant to speak plain HTTP"}
	case errors.As(err, &answer): // after those: a ping by HTTP that followed one by HTTPS answers too
		return explainAnswer(answer, err)
	case errors.As(err, &netErr) && netErr.Timeout():
		return &Error{Kind: ErrStalled, Err: err, Remedy: "try again later"}
	case errors.As(err, &syntax): // only tokens are read by go-containerregistry
		return &Error{
			Kind: ErrUnavailable, Detail: "the token server answered with something else than JSON", Err: err,
			Remedy: "check the host in the name, and whether a proxy or a login page is in between",
		}
	}
	return &Error{Kind: ErrUnavailable, Err: quoting{err}}
}

func explainAnswer(answer *transport.Error, err error) error {
	e := &Error{Err: quoting{err}}
	if strings.Contains(strings.ToLower(err.Error()), "<html") {
		e.Detail = "the registry answered with a web page"
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

// final tells of errors that trying again does not mend.
func final(err error) bool {
	if errors.Is(err, ErrStalled) {
		return false // net/http's own timeouts look like a context's
	}
	for _, kind := range []error{
		ErrNotFound, ErrDenied, ErrInsecure, errLater, errLoop, context.Canceled, context.DeadlineExceeded,
		manifest.ErrSize, manifest.ErrDigest, manifest.ErrFormat, manifest.ErrTooLarge, manifest.ErrMediaType,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	// An answer that was worth asking again for has been asked for again.
	var answer *transport.Error
	return errors.As(err, &answer)
}
