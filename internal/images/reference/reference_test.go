package reference_test

import (
	"errors"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/images/reference"
)

var hex = strings.Repeat("0123456789abcdef", 4)

func TestParse(t *testing.T) {
	digest := "sha256:" + hex
	for given, want := range map[string]struct{ canonical, familiar, remote string }{
		"debian":                      {"docker.io/library/debian:latest", "debian:latest", "index.docker.io/library/debian:latest"},
		"debian:12":                   {"docker.io/library/debian:12", "debian:12", "index.docker.io/library/debian:12"},
		"library/debian":              {"docker.io/library/debian:latest", "debian:latest", "index.docker.io/library/debian:latest"},
		"docker.io/debian:12":         {"docker.io/library/debian:12", "debian:12", "index.docker.io/library/debian:12"},
		"index.docker.io/library/a:b": {"docker.io/library/a:b", "a:b", "index.docker.io/library/a:b"},
		"me/app:V1.0_x-y":             {"docker.io/me/app:V1.0_x-y", "me/app:V1.0_x-y", "index.docker.io/me/app:V1.0_x-y"},
		"library/a/b":                 {"docker.io/library/a/b:latest", "library/a/b:latest", "index.docker.io/library/a/b:latest"},
		"localhost/app":               {"localhost/app:latest", "localhost/app:latest", "localhost/app:latest"},
		"localhost:5000/app":          {"localhost:5000/app:latest", "localhost:5000/app:latest", "localhost:5000/app:latest"},
		"reg.example:5000/a/b/c:1":    {"reg.example:5000/a/b/c:1", "reg.example:5000/a/b/c:1", "reg.example:5000/a/b/c:1"},
		"[::1]:5000/a":                {"[::1]:5000/a:latest", "[::1]:5000/a:latest", "[::1]:5000/a:latest"},
		"REG.example/a":               {"REG.example/a:latest", "REG.example/a:latest", "REG.example/a:latest"},
		"a__b/c--d/e.f":               {"docker.io/a__b/c--d/e.f:latest", "a__b/c--d/e.f:latest", "index.docker.io/a__b/c--d/e.f:latest"},
		"cafe":                        {"docker.io/library/cafe:latest", "cafe:latest", "index.docker.io/library/cafe:latest"},
		"app@" + digest:               {"docker.io/library/app@" + digest, "app@" + digest, "index.docker.io/library/app@" + digest},
		"r.io/app:1@" + digest:        {"r.io/app:1@" + digest, "r.io/app:1@" + digest, "r.io/app@" + digest},
	} {
		ref, err := reference.Parse(given)
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if ref.String() != want.canonical || ref.Familiar() != want.familiar {
			t.Errorf("%s: got %s, shown as %s; want %s, %s", given, ref, ref.Familiar(), want.canonical, want.familiar)
		}
		remote, err := ref.Remote()
		if err != nil || remote.Name() != want.remote {
			t.Errorf("%s: got %v, %v for a registry, want %s", given, remote, err, want.remote)
		}
		for _, again := range []string{ref.String(), ref.Familiar()} {
			if other, err := reference.Parse(again); err != nil || other != ref {
				t.Errorf("%s: parse %s: got %v, %v; want %s", given, again, other, err, ref)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for given, word := range map[string]string{
		"":                                "empty",
		"Debian":                          "write debian",
		"reg.example/Team/app:1":          "write reg.example/team/app",
		"a b":                             "white space",
		"https://reg.example/app":         "write reg.example/app",
		hex:                               "the id of an image",
		"app:":                            "no tag after the colon",
		"app:" + strings.Repeat("x", 129): "longer than 128",
		"app@sha256:12":                   "64 hexadecimal digits",
		"app@md5:0123":                    "md5:0123",
		"-app":                            "invalid",
		"a//b":                            "invalid",
		"../etc":                          "invalid",
		strings.Repeat("a", 256):          "255",
	} {
		_, err := reference.Parse(given)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: got %v, which should say %q", given, err, word)
		}
	}
}

// images are names and ids.
type images struct {
	names map[string]string
	ids   []string
}

func (i images) Named(ref reference.Reference) (string, bool, error) {
	id, found := i.names[ref.String()]
	return id, found, nil
}

func (i images) WithPrefix(digits string) (found []string, err error) {
	for _, id := range i.ids {
		if strings.HasPrefix(id, digits) {
			found = append(found, id)
		}
	}
	return found, nil
}

func TestFind(t *testing.T) {
	pad := func(s string) string { return s + strings.Repeat("0", 64-len(s)) }
	one, two, three := pad("cafe1"), pad("cafe2"), pad("deadbeef")
	have := images{
		names: map[string]string{
			"docker.io/library/web:1": one, "docker.io/library/deadbeef:latest": two, "docker.io/library/sha256:dead": one,
		},
		ids: []string{one, two, three},
	}
	for given, want := range map[string]string{
		"web:1": one, "docker.io/library/web:1": one,
		one: one, "sha256:" + two: two,
		"cafe1": one, "sha256:cafe2": two,
		"deadbeef":    two,   // a name comes first
		"deadbee":     three, // and what is no name is an id
		"sha256:dead": one, "sha256:deadb": three,
	} {
		if got, err := reference.Find(given, have); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", given, got, err, want)
		}
	}
	for given, want := range map[string]error{
		"cafe": fault.Invalid, "sha256:cafe": fault.Invalid,
		"web": reference.ErrNotFound, "0": reference.ErrNotFound, pad("1"): reference.ErrNotFound,
		"Web": fault.Invalid, "": fault.Invalid,
	} {
		if _, err := reference.Find(given, have); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", given, err, want)
		}
	}
	_, err := reference.Find("cafe", have)
	if want := "cafe10000000 and cafe20000000"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
}
