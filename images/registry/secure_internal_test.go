package registry

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
)

func TestLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "a.localhost:1": true, "127.0.0.1:5000": true, "127.9.9.9": true,
		"[::1]:5000": true, "::1": true, "10.0.0.1:5000": false, "192.168.1.1": false, "registry.example": false,
		"localhost.example": false, "127.0.0.1.example": false, "": false,
	} {
		if got := local(host); got != want {
			t.Errorf("local(%q) is %v", host, got)
		}
	}
}

type never struct{ asked bool }

func (n *never) RoundTrip(*http.Request) (*http.Response, error) {
	n.asked = true
	return nil, errors.New("asked")
}

func TestPlainHTTPIsForThisHost(t *testing.T) {
	for address, want := range map[string]bool{
		"http://10.1.2.3:5000/v2/": false, "http://registry.example/v2/": false,
		"https://registry.example/v2/": true, "http://localhost:5000/v2/": true,
	} {
		next := &never{}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&guarding{next: next}).RoundTrip(&http.Request{URL: u})
		if next.asked != want || !want && !errors.Is(err, ErrInsecure) {
			t.Errorf("%s: asked %v, %v", address, next.asked, err)
		}
	}
}

func TestRedirects(t *testing.T) {
	at := func(address string) *http.Request {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{URL: u}
	}
	for _, c := range []struct {
		from, to string
		taken    bool
	}{
		{"https://registry.example/a", "https://cdn.example/b", true},
		{"https://registry.example/a", "https://registry.example/b", true},
		{"https://registry.example/a", "https://169.254.169.254/latest", false},
		{"https://registry.example/a", "https://10.0.0.1/b", false},
		{"https://registry.example/a", "https://127.0.0.1/b", false},
		{"http://localhost:5000/a", "http://127.0.0.1:9000/b", true},
		{"https://10.0.0.1/a", "https://10.0.0.1/b", true},
	} {
		if err := checkRedirect(at(c.to), []*http.Request{at(c.from)}); (err == nil) != c.taken {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
	if checkRedirect(at("https://a.example"), make([]*http.Request, 10)) == nil {
		t.Error("redirects without end")
	}
}
