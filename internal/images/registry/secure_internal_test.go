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
			t.Errorf("local(%q): got %v, want %v", host, got, want)
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
		_, err = (&httpsTransport{next: next}).RoundTrip(&http.Request{URL: u})
		if next.asked != want || !want && !errors.Is(err, ErrInsecure) {
			t.Errorf("%s: got a request sent %v and %v, want %v", address, next.asked, err, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		registry, to string
		taken        bool // without --insecure
		insecure     bool // with it
	}{
		{"registry.example", "cdn.example", true, true},
		{"registry.example", "registry.example:5001", true, true},
		{"registry.example", "10.0.0.1", false, true},
		{"registry.example", "10.0.0.1.:9000", false, true},
		{"registry.example", "[fd00::1]:9000", false, true},
		{"registry.example", "[::ffff:10.0.0.1]", false, true},
		{"registry.example", "127.0.0.1", false, true},
		{"registry.example", "localhost:80", false, true},
		{"registry.example", "0.0.0.0", false, true},
		{"registry.example", "169.254.169.254", false, false},
		{"registry.example", "[::ffff:169.254.169.254]:80", false, false},
		{"registry.example", "[fe80::1%25eth0]:80", false, false},
		{"registry.example", "[fd00:ec2::254]", false, false},
		{"registry.example", "100.100.100.200", false, false},
		{"localhost:5000", "127.0.0.1:9000", true, true},
		{"localhost:5000", "10.0.0.1:9000", true, true},
		{"localhost:5000", "169.254.169.254", false, false},
		{"10.0.0.1", "10.0.0.1:8080", true, true},
		{"10.0.0.1", "10.0.0.2:8080", true, true},
		{"10.0.0.1", "127.0.0.1:8080", false, true},
		{"10.0.0.1", "169.254.169.254", false, false},
		{"169.254.1.1:5000", "169.254.1.1:80", true, true},
	} {
		for _, insecure := range []bool{false, true} {
			want := c.taken
			if insecure {
				want = c.insecure
			}
			err := policy{c.registry, insecure}.check(c.to)
			if (err == nil) != want || err != nil && !errors.Is(err, ErrInsecure) {
				t.Errorf("%s to %s, insecure %v: got %v, want it allowed: %v", c.registry, c.to, insecure, err, want)
			}
		}
	}
	if err := (policy{}).redirect(nil, make([]*http.Request, 10)); !errors.Is(err, errLoop) {
		t.Errorf("redirects without an end: got %v, want %v", err, errLoop)
	}
}
