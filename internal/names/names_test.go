package names_test

import (
	"strings"
	"testing"

	"thinctl/internal/names"
)

func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule names.Rule
		name string
		want string // part of the error; "" for none
	}{
		{names.Pool, "vault", ""},
		{names.Pool, "9-_.+:@=", ""},
		{names.Pool, "", "empty"},
		{names.Pool, "-vault", "letter or digit first"},
		{names.Pool, "a/b", "- _ . + : @ ="},
		{names.Pool, "vä", "letters, digits"},
		{names.Pool, strings.Repeat("a", 32), ""},
		{names.Pool, strings.Repeat("a", 33), "at most 32"},
		{names.Volume, strings.Repeat("a", 96), ""},
		{names.Volume, strings.Repeat("a", 97), "at most 96"},
		{names.Container, "a", "at least 2"},
		{names.Container, "a_", ""},
		{names.Container, "a:b", "_ . -"},
		{names.Container, strings.Repeat("a", 129), "at most 128"},
		{names.Namespace, "k8s.io", ""},
		{names.Namespace, "k8s:io", ". _ -"},
		{names.Namespace, strings.Repeat("a", 65), "at most 64"},
	} {
		err := c.rule.Check(c.name)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("Check(%q): got %v, want an error with %q", c.name, err, c.want)
		}
	}
}
