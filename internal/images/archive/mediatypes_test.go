package archive_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
	"thinctl/internal/images/archive"
	"thinctl/internal/images/manifest"
)

// Archives and registries share the parser of manifests and indexes. Package manifest
// tests more unusual input.
func TestUnusualLayouts(t *testing.T) {
	image := randomImage(t, 2)
	config := must(image.ConfigFile())
	config.OS, config.Architecture = "linux", manifest.HostPlatform().Architecture
	good := itemsOf(t, written(t, archive.WriteOCI, archive.Entry{Names: []string{"a:1"}, Image: must(mutate.ConfigFile(image, config))}))
	layerType := func(to types.MediaType) func(*edited) {
		return func(e *edited) { e.manifest(func(m *v1.Manifest) { m.Layers[1].MediaType = to }) }
	}
	configType := func(to types.MediaType) func(*edited) {
		return func(e *edited) { e.manifest(func(m *v1.Manifest) { m.Config.MediaType = to }) }
	}
	for name, c := range map[string]struct {
		change  func(*edited)
		warning string // "": none
	}{
		"nothing":            {func(*edited) {}, ""},
		"index of version 1": {func(e *edited) { e.replace("index.json", `"schemaVersion":2`, `"schemaVersion":1`) }, "index.json: schema version 1"},
		"manifest of no type": {func(e *edited) {
			e.descriptor(func(i *v1.IndexManifest) { i.Manifests[0].MediaType = "" })
		}, ""},
		"manifest of a type unknown": {func(e *edited) {
			e.descriptor(func(i *v1.IndexManifest) { i.Manifests[0].MediaType = "text/x" })
		}, `media type "text/x"`},
		"a bad entry": {func(e *edited) {
			e.replace("index.json", `"manifests":[`, `"manifests":[{"mediaType":"x","size":1,"digest":"sha256:1"},`)
		}, "index.json: entry 1 is left out"},
		"config octet-stream": {configType("application/octet-stream"), "octet-stream"},
		"config of no type":   {configType(""), "no media type"},
		"layer foreign":       {layerType(types.DockerForeignLayer), "layer 2 is a foreign layer"},
		"layer restricted":    {layerType(types.OCIUncompressedRestrictedLayer), "layer 2 is a foreign layer"},
		"layer of no type":    {layerType(""), "layer 2 has no media type"},
		"layer zstd":          {layerType("application/vnd.docker.image.rootfs.diff.tar.zstd"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := &edited{t, slices.Clone(good)}
			c.change(e)
			var warnings []string
			a, err := archive.Read(t.Context(), bytes.NewReader(tarOf(t, e.items...)), archive.Options{
				TempDir: t.TempDir(), Name: "in.tar", Warn: func(w fault.Warning) { warnings = append(warnings, w.String()) },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if all := a.Images(); len(all) != 1 || fmt.Sprint(all[0].Names) != "[docker.io/library/a:1]" {
				t.Errorf("got %v, want one image library/a:1", all)
			}
			all := strings.Join(warnings, "\n")
			if (c.warning == "") != (all == "") || !strings.Contains(all, c.warning) || all != "" && !strings.HasPrefix(all, "in.tar: ") {
				t.Errorf("warnings %q, want one of in.tar with %q", warnings, c.warning)
			}
		})
	}
	e := &edited{t, slices.Clone(good)}
	layer := e.firstLayer()
	e.manifest(func(m *v1.Manifest) {
		m.Layers[0].MediaType, m.Layers[0].URLs = types.DockerForeignLayer, []string{"https://mcr.example/x"}
	})
	e.remove(layer)
	refused(t, tarOf(t, e.items...), manifest.ErrForeign, layer, "https://mcr.example/x", "pull the image")
}
