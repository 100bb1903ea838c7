package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
)

// memory is a source of manifests and blobs that a test adds.
type memory struct {
	blobs map[v1.Hash][]byte
	reads int
}

func (m *memory) put(t types.MediaType, text string) v1.Descriptor {
	if m.blobs == nil {
		m.blobs = map[v1.Hash][]byte{}
	}
	d := manifest.Descriptor(t, []byte(text))
	m.blobs[d.Digest] = []byte(text)
	return d
}

func (m *memory) Manifest(d v1.Descriptor) (manifest.Read, error) {
	m.reads++
	raw, err := m.Config(d)
	return manifest.Read{Descriptor: d, Raw: raw}, err
}

func (m *memory) Config(d v1.Descriptor) ([]byte, error) {
	raw, found := m.blobs[d.Digest]
	if !found {
		return nil, manifest.Errorf(manifest.ErrMissing, "no such blob")
	}
	return raw, nil
}

func (m *memory) Part(d v1.Descriptor) string { return d.Digest.String() }

const anyDigest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

// image adds an image for a platform; "" leaves the platform out of the config.
func (m *memory) image(platform string) v1.Descriptor {
	os, arch, _ := strings.Cut(platform, "/")
	arch, variant, _ := strings.Cut(arch, "/")
	config := m.put(types.DockerConfigJSON, fmt.Sprintf(
		`{"os":%q,"architecture":%q,"variant":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, os, arch, variant, anyDigest))
	return m.manifest(config, types.DockerLayer)
}

func (m *memory) manifest(config v1.Descriptor, layer types.MediaType) v1.Descriptor {
	return m.put(types.DockerManifestSchema2, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[{"mediaType":%q,"size":5,"digest":%q}]}`,
		types.DockerManifestSchema2, text(config), layer, anyDigest))
}

func (m *memory) index(entries ...v1.Descriptor) v1.Descriptor {
	return m.put(types.OCIImageIndex, fmt.Sprintf(`{"schemaVersion":2,"manifests":%s}`, text(append([]v1.Descriptor{}, entries...))))
}

func text(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func forPlatform(d v1.Descriptor, platform string) v1.Descriptor {
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	d.Platform = p
	return d
}

// find returns the image below d for a platform, and the warnings.
func (m *memory) find(d v1.Descriptor, platform string) (*manifest.Found, []string, error) {
	var warnings []string
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	finder := manifest.Finder{Source: m, Platform: *p, Warn: func(w fault.Warning) { warnings = append(warnings, w.String()) }}
	found, err := finder.Image(manifest.Read{Descriptor: d, Raw: m.blobs[d.Digest]})
	return found, warnings, err
}

func TestPlatformsThatAnIndexNames(t *testing.T) {
	for want, c := range map[string]struct {
		have   []string
		chosen int // -1: none
	}{
		"linux/amd64":    {[]string{"linux/arm64", "linux/amd64/v3", "linux/amd64"}, 2},
		"linux/amd64/v3": {[]string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, 1},
		"linux/amd64/v2": {[]string{"linux/386", "linux/arm64"}, 0},
		"linux/arm64":    {[]string{"linux/arm/v7", "linux/arm64/v8"}, 1},
		"linux/arm64/v8": {[]string{"linux/aarch64", "linux/arm/v7"}, 0},
		"linux/arm/v7":   {[]string{"linux/arm/v5", "linux/arm/v6", "linux/arm64"}, 1},
		"linux/arm/v6":   {[]string{"linux/arm64", "linux/386"}, -1},
		"linux/s390x":    {[]string{"unknown/unknown", "windows/s390x"}, -1},
		"linux/ppc64le":  {nil, -1},
	} {
		m := &memory{}
		var entries []v1.Descriptor
		for i, p := range c.have {
			// Each config names another platform, so that the images differ.
			entries = append(entries, forPlatform(m.image(fmt.Sprintf("linux/%d", i)), p))
		}
		got, _, err := m.find(m.index(entries...), want)
		switch {
		case c.chosen < 0:
			if !errors.Is(err, manifest.ErrPlatform) {
				t.Errorf("%s of %v: %v, want ErrPlatform", want, c.have, err)
			}
		case err != nil:
			t.Errorf("%s of %v: %v", want, c.have, err)
		case got.Digest != entries[c.chosen].Digest:
			t.Errorf("%s of %v: another image than %d was chosen", want, c.have, c.chosen)
		case m.reads != 1:
			t.Errorf("%s of %v: %d manifests were read, want 1", want, c.have, m.reads)
		}
	}
}

// If an index has the processor in other variants alone, the first of them is
// accepted with a warning.
func TestOtherVariants(t *testing.T) {
	for want, c := range map[string]struct {
		have   []string
		chosen int
	}{
		"linux/amd64":  {[]string{"linux/amd64/v2"}, 0},
		"linux/arm/v6": {[]string{"linux/arm64", "linux/arm/v8", "linux/arm/v7", "unknown/unknown"}, 1},
	} {
		m := &memory{}
		var entries []v1.Descriptor
		for _, p := range c.have {
			entries = append(entries, forPlatform(m.image(p), p))
		}
		got, warnings, err := m.find(m.index(entries...), want)
		if err != nil || got.Digest != entries[c.chosen].Digest {
			t.Errorf("%s of %v: got %v, %v, want image %d", want, c.have, got, err, c.chosen)
		}
		if words := "is for " + c.have[c.chosen] + ", not for " + want; len(warnings) != 1 || !strings.Contains(warnings[0], words) {
			t.Errorf("%s of %v: got the warnings %q, want one with %q", want, c.have, warnings, words)
		}
	}
}

// The configs decide if an index has no platforms.
func TestPlatformsOfConfigs(t *testing.T) {
	m := &memory{}
	arm, amd, none := m.image("linux/arm64"), m.image("linux/x86_64"), m.image("/")
	windows := m.image("windows/amd64")
	missing := m.image("linux/mips64le")
	delete(m.blobs, missing.Digest)
	provenance := m.manifest(m.put(types.OCIConfigJSON, fmt.Sprintf(`{"rootfs":{"diff_ids":[%q]}}`, anyDigest)), "application/vnd.in-toto+json")
	attestation := provenance
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	typed := provenance
	typed.ArtifactType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	empty := amd
	empty.Platform = &v1.Platform{}
	for name, c := range map[string]struct {
		entries []v1.Descriptor
		want    v1.Descriptor
		warning string // "": none
	}{
		"one":                  {[]v1.Descriptor{amd}, amd, ""},
		"two":                  {[]v1.Descriptor{arm, amd}, amd, ""},
		"an empty platform":    {[]v1.Descriptor{empty}, amd, ""},
		"beside an attestion":  {[]v1.Descriptor{attestation, typed, amd}, amd, ""},
		"beside an artifact":   {[]v1.Descriptor{provenance, amd}, amd, "in-toto"},
		"beside another":       {[]v1.Descriptor{forPlatform(arm, "linux/arm64"), amd}, amd, ""},
		"beside windows":       {[]v1.Descriptor{windows, amd}, amd, "left out"},
		"beside a missing one": {[]v1.Descriptor{missing, amd}, amd, "left out"},
		"nested":               {[]v1.Descriptor{m.index(m.index(arm), m.index(amd))}, amd, ""},
		"alone, of another":    {[]v1.Descriptor{arm}, arm, "is for linux/arm64, not for linux/amd64"},
		"alone, of none":       {[]v1.Descriptor{none}, none, "has no platform"},
	} {
		got, warnings, err := m.find(m.index(c.entries...), "linux/amd64")
		if err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
			continue
		}
		if got.Digest != c.want.Digest {
			t.Errorf("%s: got %s, want %s", name, got.Digest, c.want.Digest)
		}
		if all := strings.Join(warnings, "\n"); (c.warning == "") != (all == "") || !strings.Contains(all, c.warning) {
			t.Errorf("%s: warnings %q, want one with %q", name, warnings, c.warning)
		}
	}
	for name, c := range map[string]struct {
		d     v1.Descriptor
		kind  error
		words string
	}{
		"two of others":     {m.index(arm, m.image("linux/s390x")), manifest.ErrPlatform, "linux/amd64 is not among linux/arm64, linux/s390x"},
		"a nested one":      {m.index(m.index(forPlatform(arm, "linux/arm64"))), manifest.ErrPlatform, "not among linux/arm64"},
		"windows":           {m.index(windows), manifest.ErrPlatform, "only Linux"},
		"attestations only": {m.index(attestation), manifest.ErrPlatform, "no images"},
		"an artifact only":  {m.index(provenance), manifest.ErrMediaType, "artifact"},
		"missing":           {m.index(missing), manifest.ErrMissing, missing.Digest.String()},
		"nested without an end": {func() v1.Descriptor {
			d := amd
			for range 6 {
				d = m.index(d)
			}
			return d
		}(), manifest.ErrFormat, "nested more than 4 deep"},
		"a thousand": {func() v1.Descriptor {
			var all []v1.Descriptor
			for i := range 1000 {
				all = append(all, m.image(fmt.Sprintf("linux/%d", i)))
			}
			return m.index(all...)
		}(), manifest.ErrTooLarge, "have no platform"},
	} {
		if _, _, err := m.find(c.d, "linux/amd64"); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.kind, c.words)
		}
	}
}

// Unusual input is accepted with a warning if Docker, containerd or skopeo accept it.
func TestMediaTypes(t *testing.T) {
	m := &memory{}
	good := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, anyDigest)
	change := func(from v1.Descriptor, before, after string) v1.Descriptor {
		raw := string(m.blobs[from.Digest])
		if !strings.Contains(raw, before) {
			t.Fatalf("no %q in %s", before, raw)
		}
		d := m.put(from.MediaType, strings.Replace(raw, before, after, 1))
		return d
	}
	configured := func(mediaType types.MediaType, config string) v1.Descriptor {
		return m.manifest(m.put(mediaType, config), types.DockerLayer)
	}
	layered := func(mediaType types.MediaType) v1.Descriptor {
		return m.manifest(m.put(types.DockerConfigJSON, good), mediaType)
	}
	declared := func(d v1.Descriptor, mediaType types.MediaType) v1.Descriptor {
		d.MediaType = mediaType
		return d
	}
	image := layered(types.DockerLayer)
	mediaType := fmt.Sprintf(`"mediaType":%q,"config"`, types.DockerManifestSchema2)
	for name, c := range map[string]struct {
		d       v1.Descriptor
		warning string
	}{
		"Docker":                    {image, ""},
		"zstd of Docker":            {layered("application/vnd.docker.image.rootfs.diff.tar.zstd"), ""},
		"config octet-stream":       {configured("application/octet-stream", good), "application/octet-stream"},
		"config json":               {configured("application/json", good), "application/json"},
		"config none":               {configured("", good), "no media type"},
		"config unknown":            {configured("application/vnd.example+json", good), "vnd.example"},
		"layer unknown":             {layered("application/vnd.oci.image.layer.v2.tar+lz4"), "tar+lz4"},
		"layer none":                {layered(""), "no media type"},
		"layer gzip":                {layered("application/gzip"), "application/gzip"},
		"layer foreign":             {layered(types.DockerForeignLayer), "foreign layer"},
		"layer foreign zstd":        {layered("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"), "foreign layer"},
		"manifest without its type": {change(image, mediaType, `"config"`), ""},
		"manifest of unknown type":  {change(image, mediaType, `"mediaType":"application/x-thing","config"`), "x-thing"},
		"no schema version":         {change(image, `"schemaVersion":2,`, ""), "schema version 0"},
		"manifests null":            {change(image, `"schemaVersion":2`, `"schemaVersion":2,"manifests":null`), ""},
		"said to be an index":       {declared(image, types.OCIImageIndex), "read as an image manifest"},
		"said to be of OCI":         {declared(image, types.OCIManifestSchema1), "the manifest's own is"},
		"said to be text":           {declared(image, "text/plain"), "text/plain"},
		"list of an old type":       {declared(m.index(image), "application/vnd.docker.distribution.manifest.list"), "read as an index"},
		"index with a bad entry": {change(m.index(image), `"manifests":[`,
			`"manifests":[{"digest":"md5:1","size":1},{"size":3},`), "left out"},
	} {
		got, warnings, err := m.find(c.d, "linux/amd64")
		if err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
			continue
		}
		if len(got.Manifest.Layers) != 1 || string(got.RawConfig) != good {
			t.Errorf("%s: got %d layers and the config %s, want one layer and %s",
				name, len(got.Manifest.Layers), got.RawConfig, good)
		}
		if all := strings.Join(warnings, "\n"); (c.warning == "") != (all == "") || !strings.Contains(all, c.warning) {
			t.Errorf("%s: warnings %q, want one with %q", name, warnings, c.warning)
		}
	}
	for name, c := range map[string]struct {
		d     v1.Descriptor
		kind  error
		words string
	}{
		"schema 1":            {m.put("", `{"schemaVersion":1,"fsLayers":[]}`), manifest.ErrMediaType, "schema 1"},
		"schema 1, unmarked":  {m.put("", `{"fsLayers":[{}]}`), manifest.ErrMediaType, "skopeo copy --format v2s2"},
		"both":                {change(image, `"schemaVersion":2`, `"schemaVersion":2,"manifests":[]`), manifest.ErrFormat, "both"},
		"a manifest as index": {change(image, mediaType, fmt.Sprintf(`"mediaType":%q,"config"`, types.OCIImageIndex)), manifest.ErrFormat, "an image manifest of the media type"},
		"chart": {m.manifest(m.put("application/vnd.cncf.helm.config.v1+json", `{"name":"web","version":"1"}`), "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
			manifest.ErrMediaType, "artifact"},
		"chart's config":     {configured("application/vnd.cncf.helm.config.v1+json", `{"name":"web"}`), manifest.ErrMediaType, "helm"},
		"empty config":       {configured(types.OCIEmptyJSON, `{}`), manifest.ErrMediaType, "vnd.oci.empty"},
		"config of text":     {configured("text/plain", `hello`), manifest.ErrMediaType, "artifact"},
		"signature":          {layered("application/vnd.dev.cosign.simplesigning.v1+json"), manifest.ErrMediaType, "artifact"},
		"plugin":             {configured(types.DockerPluginConfig, good), manifest.ErrMediaType, "plugin"},
		"encrypted":          {layered("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), manifest.ErrMediaType, "decrypt"},
		"artifact manifest":  {m.put("", `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b","blobs":[]}`), manifest.ErrMediaType, `"a/b"`},
		"nothing":            {m.put("", `{}`), manifest.ErrMediaType, "neither"},
		"text":               {m.put("", `hello`), manifest.ErrFormat, "neither"},
		"a layer less":       {configured(types.DockerConfigJSON, `{"os":"linux"}`), manifest.ErrFormat, "0 diff ids for 1 layers"},
		"a negative size":    {change(image, `"size":5`, `"size":-5`), manifest.ErrSize, "-5"},
		"a config of 33 MiB": {change(image, fmt.Sprintf(`"size":%d`, len(good)), fmt.Sprintf(`"size":%d`, 33<<20)), manifest.ErrTooLarge, "at most"},
	} {
		if _, _, err := m.find(c.d, "linux/amd64"); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.kind, c.words)
		}
	}
}
