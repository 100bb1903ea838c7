package manifest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
)

func parsed(t *testing.T, raw string) (*v1.ConfigFile, string) {
	t.Helper()
	var warnings []string
	config, err := manifest.ParseConfig([]byte(raw), func(w fault.Warning) { warnings = append(warnings, w.String()) })
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return config, strings.Join(warnings, "\n")
}

// A field that cannot be parsed is left out; the other fields are kept.
func TestFieldsOfConfigs(t *testing.T) {
	const rest = `"os":"linux","rootfs":{"type":"layers","diff_ids":["` + anyDigest + `"]}`
	for raw, c := range map[string]struct {
		warning string
		has     func(*v1.ConfigFile) bool
	}{
		`{` + rest + `}`:                              {"", func(c *v1.ConfigFile) bool { return c.Created.IsZero() }},
		`{"created":null,` + rest + `}`:               {"", func(c *v1.ConfigFile) bool { return c.Created.IsZero() }},
		`{"created":"","author":"a",` + rest + `}`:    {`"created"`, func(c *v1.ConfigFile) bool { return c.Author == "a" }},
		`{"created":"yesterday",` + rest + `}`:        {`"created"`, func(c *v1.ConfigFile) bool { return c.Created.IsZero() }},
		`{"config":null,"history":null,` + rest + `}`: {"", func(c *v1.ConfigFile) bool { return c.Config.Cmd == nil }},
		`{"config":{"Cmd":"/a","User":"u"},` + rest + `}`: {"", func(c *v1.ConfigFile) bool {
			return slices.Equal(c.Config.Cmd, []string{"/a"}) && c.Config.User == "u"
		}},
		`{"config":{"User":7,"Cmd":["/a"]},` + rest + `}`: {`"config.User"`, func(c *v1.ConfigFile) bool {
			return slices.Equal(c.Config.Cmd, []string{"/a"})
		}},
		`{"config":"none",` + rest + `}`: {`"config"`, func(*v1.ConfigFile) bool { return true }},
		`{"history":[{"created":"","created_by":"x"},{"created_by":"y","empty_layer":true}],` + rest + `}`: {`"history.created"`, func(c *v1.ConfigFile) bool {
			return len(c.History) == 2 && c.History[0].CreatedBy == "x" && c.History[1].EmptyLayer
		}},
		`{"history":{},` + rest + `}`: {`"history"`, func(*v1.ConfigFile) bool { return true }},
	} {
		config, warnings := parsed(t, raw)
		if !c.has(config) || config.OS != "linux" || len(config.RootFS.DiffIDs) != 1 {
			t.Errorf("%s: got %+v, want the other fields kept", raw, config)
		}
		if (c.warning == "") != (warnings == "") || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: got the warnings %q, want one about %s", raw, warnings, c.warning)
		}
	}
	for raw, kind := range map[string]error{
		`{"rootfs":{"diff_ids":["sha256:1"]}}`: manifest.ErrFormat,
		`{"rootfs":{"diff_ids":"x"}}`:          manifest.ErrFormat,
		`{"created":"","rootfs":7}`:            manifest.ErrFormat,
		`{"rootfs":{"type":"squashfs"}}`:       manifest.ErrFormat,
		`{"os":["linux"]}`:                     manifest.ErrFormat,
		`{"os":"windows"}`:                     manifest.ErrPlatform,
		`[]`:                                   manifest.ErrFormat,
		`{"os":"linux"`:                        manifest.ErrFormat,
	} {
		if _, err := manifest.ParseConfig([]byte(raw), nil); !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", raw, err, kind)
		}
	}
}
