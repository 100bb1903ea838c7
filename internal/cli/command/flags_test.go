package command

import (
	"slices"
	"testing"

	"thinctl/units"
)

func TestParseGrowth(t *testing.T) {
	for _, test := range []struct {
		text string
		want Growth
	}{
		{"10G", Growth{Size: 10 * units.GiB}},
		{"+10G", Growth{Size: 10 * units.GiB, More: true}},
		{"+512", Growth{Size: 512, More: true}},
		{"1.5G", Growth{Size: 1536 * units.MiB}},
		{"+1g", Growth{Size: units.GiB, More: true}},
	} {
		if got, err := ParseGrowth(test.text); err != nil || got != test.want {
			t.Errorf("%s: %v, %v, want %v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"", "+", "-1G", "++1G", "+-1G", "0", "+0", "10X", "+ 1G1", "9E", "1G+"} {
		if asked, err := ParseGrowth(text); err == nil {
			t.Errorf("%q: %v, want an error", text, asked)
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
	// Arguments that may have slashes are unchanged.
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
