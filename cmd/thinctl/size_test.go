package main

import (
	"math"
	"slices"
	"testing"

	"thinctl/units"
)

func TestTarget(t *testing.T) {
	for _, test := range []struct {
		text string
		want target
	}{
		{"10G", target{size: 10 * units.GiB}},
		{"+10G", target{size: 10 * units.GiB, more: true}},
		{"+512", target{size: 512, more: true}},
		{"1.5G", target{size: 1536 * units.MiB}},
		{"+1g", target{size: units.GiB, more: true}},
	} {
		if got, err := parseTarget(test.text); err != nil || got != test.want {
			t.Errorf("%s: %v, %v, want %v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"", "+", "-1G", "++1G", "+-1G", "0", "+0", "10X", "+ 1G1", "9E", "1G+"} {
		if asked, err := parseTarget(text); err == nil {
			t.Errorf("%q: %v, want an error", text, asked)
		}
	}
}

func TestPercentOf(t *testing.T) {
	for _, test := range []struct {
		size    units.Bytes
		percent int
		want    units.Bytes
	}{{100, 10, 10}, {units.GiB, 10, 107374182}, {199, 50, 99}, {math.MaxInt64, 90, 8301034833169298226}, {5, 0, 0}} {
		if got := percentOf(test.size, test.percent); got != test.want {
			t.Errorf("%d%% of %d: %d, want %d", test.percent, uint64(test.size), uint64(got), uint64(test.want))
		}
	}
}

func TestSplitAddress(t *testing.T) {
	names := []string{"POOL", "NAME..."}
	for _, test := range []struct{ words, want []string }{
		{nil, nil},
		{[]string{"vault"}, []string{"vault"}},
		{[]string{"vault", "base"}, []string{"vault", "base"}},
		{[]string{"vault/base"}, []string{"vault", "base"}},
		{[]string{"vault/base", "/mnt"}, []string{"vault", "base", "/mnt"}},
		{[]string{"vault/a", "vault/b", "c"}, []string{"vault", "a", "b", "c"}},
		{[]string{"vault", "vault/b"}, []string{"vault", "b"}},
		{[]string{"vault/"}, []string{"vault", ""}},
		{[]string{"vault/a", "other/b"}, []string{"vault", "a", "other/b"}},
	} {
		if got := splitAddress(test.words, names); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
	// What may have slashes of its own is left as it is.
	for _, test := range []struct{ names, words, want []string }{
		{[]string{"POOL", "IMAGE..."}, []string{"vault", "vault/a", "vault/b"}, []string{"vault", "vault/a", "vault/b"}},
		{[]string{"POOL", "IMAGE"}, []string{"vault/library/a"}, []string{"vault", "library/a"}},
		{[]string{"POOL", "CONTAINER", "[DIR]"}, []string{"vault", "vault/web", "vault/mnt"}, []string{"vault", "web", "vault/mnt"}},
		{[]string{"POOL", "FILE", "[IMAGE]"}, []string{"vault", "vault/x.tar"}, []string{"vault", "vault/x.tar"}},
	} {
		if got := splitAddress(test.words, test.names); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
}
