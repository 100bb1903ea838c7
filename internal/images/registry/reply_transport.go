package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync"

	"thinctl/fault"
)

// replyTransport makes the replies of registries uniform for go-containerregistry, which is
// stricter than Docker and containerd. It applies the policy to the hosts to which replies
// refer.
//
// go-containerregistry refuses all private addresses. An address that the policy allows is
// passed to it under an alias: with a final dot, it is not taken for an address.
type replyTransport struct {
	next   http.RoundTripper
	policy policy
	warn   fault.Warn

	mu      sync.Mutex
	aliases map[string]string // to hosts, both with ports
}

func (t *replyTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := t.resolveAlias(request)
	response, err := t.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	response.Request = request
	err = t.checkLocation(sent, response)
	if err == nil {
		err = t.checkChallenge(response)
	}
	if err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	t.normalize(request, response)
	return response, nil
}

// resolveAlias returns the request with the host of an alias.
func (t *replyTransport) resolveAlias(request *http.Request) *http.Request {
	t.mu.Lock()
	host, found := t.aliases[request.URL.Host]
	t.mu.Unlock()
	if !found {
		return request
	}
	sent := request.Clone(request.Context())
	sent.URL.Host, sent.Host = host, host
	return sent
}

// alias returns the alias of an address.
func (t *replyTransport) alias(u *url.URL) string {
	ip, ok := address(u.Host)
	if !ok || u.Host == t.policy.registry {
		return u.Host
	}
	alias := strings.ReplaceAll(ip.String(), ":", "-") + "."
	if port := u.Port(); port != "" {
		alias += ":" + port
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.aliases == nil {
		t.aliases = map[string]string{}
	}
	t.aliases[alias] = u.Host
	return alias
}

// checkLocation checks the location in a reply. It adds the location of an upload if the reply
// has none.
func (t *replyTransport) checkLocation(sent *http.Request, response *http.Response) error {
	redirect := response.StatusCode >= 300 && response.StatusCode < 400
	upload := (sent.Method == http.MethodPost || sent.Method == http.MethodPatch) && response.StatusCode < 300
	if !redirect && !upload {
		return nil // the location of a created object, which is not followed
	}
	location := response.Header.Get("Location")
	if location == "" && upload {
		location = uploadLocation(sent, response)
	}
	if location == "" {
		return nil
	}
	to, err := sent.URL.Parse(location)
	if err != nil {
		return &Error{
			Kind: ErrUnavailable, Detail: fmt.Sprintf("the registry refers to %q", plainText(location)),
			Err: err,
		}
	}
	if err := t.policy.check(to.Host); err != nil {
		return err
	}
	to.Host = t.alias(to)
	response.Header.Set("Location", to.String())
	return nil
}

// uploadLocation returns the location of an upload for a reply without one: from the
// upload's id, or else the URL to which the last part was sent.
func uploadLocation(sent *http.Request, response *http.Response) string {
	id := response.Header.Get("Docker-Upload-UUID")
	switch {
	case sent.Method == http.MethodPatch:
		return sent.URL.String()
	case id != "" && response.StatusCode == http.StatusAccepted:
		return path.Join(sent.URL.Path, url.PathEscape(id))
	}
	return ""
}

var realms = regexp.MustCompile(`(?i)(\brealm=")([^"]*)(")`)

// checkChallenge checks the token server in a reply.
func (t *replyTransport) checkChallenge(response *http.Response) (failed error) {
	for i, header := range response.Header["Www-Authenticate"] {
		response.Header["Www-Authenticate"][i] = realms.ReplaceAllStringFunc(header, func(found string) string {
			parts := realms.FindStringSubmatch(found)
			realm, err := url.Parse(parts[2])
			if err != nil || realm.Host == "" {
				return found
			}
			if err := t.policy.check(realm.Host); err != nil {
				failed = err
				return found
			}
			realm.Host = t.alias(realm)
			return parts[1] + realm.String() + parts[3]
		})
	}
	return failed
}

// normalize replaces replies that have the same meaning by one.
func (t *replyTransport) normalize(request *http.Request, response *http.Response) {
	code, at := response.StatusCode, request.URL.Path
	switch {
	case at == "/v2/" && request.Method == http.MethodGet &&
		(code == http.StatusForbidden || code == http.StatusNotFound || code == http.StatusMethodNotAllowed):
		// containerd does not request /v2/, and Docker only reads a challenge from the reply,
		// so that static files can be a registry.
		t.warn.Add("", "%s answers /v2/ with status %d: no login was tried", request.URL.Host, code)
		replace(response, http.StatusOK)
	case request.Method == http.MethodPut && code >= 200 && code < 300:
		replace(response, http.StatusCreated)
	case request.Method == http.MethodHead && strings.Contains(at, "/manifests/") &&
		code == http.StatusOK && !described(response):
		// The request only serves to avoid an upload.
		replace(response, http.StatusNotFound)
	}
}

func described(response *http.Response) bool {
	for _, header := range []string{"Content-Type", "Content-Length", "Docker-Content-Digest"} {
		if response.Header.Get(header) == "" {
			return false
		}
	}
	return true
}

// replace changes a reply's status and drops its body.
func replace(response *http.Response, code int) {
	_ = response.Body.Close()
	response.StatusCode, response.Status = code, fmt.Sprintf("%d %s", code, http.StatusText(code))
	response.Body, response.ContentLength = http.NoBody, 0
}
