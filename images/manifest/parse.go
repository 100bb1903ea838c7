package manifest

import (
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// JSONLimit is how large a manifest, index or config may be. Registries take no
// more than 4 MiB.
const JSONLimit = 32 << 20

// Parse reads an image's manifest, of Docker or OCI.
func Parse(raw []byte) (*v1.Manifest, error) {
	var m struct {
		v1.Manifest
		Manifests json.RawMessage `json:"manifests"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, &Error{Kind: ErrFormat, Detail: "this is no image manifest", Err: err}
	}
	switch {
	case m.SchemaVersion == 1 || m.FSLayers != nil:
		return nil, &Error{
			Kind: ErrMediaType, Detail: "a manifest of Docker's schema 1, which has no image config",
			Remedy: "push the image again with Docker 1.10 or later",
		}
	case m.SchemaVersion != 2:
		return nil, Errorf(ErrFormat, "a manifest of schema version %d", m.SchemaVersion)
	case m.Manifests != nil:
		// One text that reads as two things: CVE-2021-41190.
		return nil, Errorf(ErrFormat, "this is both an image manifest and an index")
	case m.MediaType != "" && !m.MediaType.IsImage():
		return nil, Errorf(ErrMediaType, "%s is not an image manifest", m.MediaType)
	}
	if err := checkConfig(m.Config); err != nil {
		return nil, err
	}
	for i, layer := range m.Layers {
		if err := CheckLayer(i, layer); err != nil {
			return nil, err
		}
	}
	return &m.Manifest, nil
}

func checkConfig(d v1.Descriptor) error {
	if !d.MediaType.IsConfig() {
		return &Error{
			Part: d.Digest.String(), Kind: ErrMediaType,
			Detail: "the config is " + quoted(d.MediaType) + ", not that of a container image",
		}
	}
	return checkDescriptor(d)
}

// CheckLayer refuses layers that are foreign, of an unknown kind, or described
// badly; i counts from the base.
func CheckLayer(i int, d v1.Descriptor) error {
	part := d.Digest.String()
	switch {
	case !d.MediaType.IsDistributable():
		return &Error{
			Part: part, Kind: ErrForeign,
			Detail: "its contents are not with the image: " + string(d.MediaType) + from(d.URLs),
			Remedy: "only an image without foreign layers can be used",
		}
	case !d.MediaType.IsLayer():
		err := Errorf(ErrMediaType, "layer %d is %s", i+1, quoted(d.MediaType))
		err.Part = part
		if strings.Contains(string(d.MediaType), "encrypted") {
			err.Remedy = "decrypt the image first"
		}
		return err
	}
	return checkDescriptor(d)
}

func from(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	return " from " + urls[0]
}

func quoted(t types.MediaType) string {
	if t == "" {
		return "of no media type"
	}
	return string(t)
}

func checkDescriptor(d v1.Descriptor) error {
	if d.Digest.Hex == "" {
		return Errorf(ErrFormat, "a %s without a digest", d.MediaType)
	}
	if d.Size < 0 {
		err := Errorf(ErrSize, "a size of %d bytes", d.Size)
		err.Part = d.Digest.String()
		return err
	}
	return nil
}

// ParseIndex reads an index or manifest list.
func ParseIndex(raw []byte) (*v1.IndexManifest, error) {
	var index struct {
		v1.IndexManifest
		Config json.RawMessage `json:"config"`
		Layers json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, &Error{Kind: ErrFormat, Detail: "this is no index", Err: err}
	}
	switch {
	case index.SchemaVersion != 2:
		return nil, Errorf(ErrFormat, "an index of schema version %d", index.SchemaVersion)
	case index.Config != nil || index.Layers != nil:
		return nil, Errorf(ErrFormat, "this is both an image manifest and an index")
	case index.MediaType != "" && !index.MediaType.IsIndex():
		return nil, Errorf(ErrMediaType, "%s is not an index", index.MediaType)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d); err != nil {
			return nil, err
		}
	}
	return &index.IndexManifest, nil
}

// ParseConfig reads an image's config.
func ParseConfig(raw []byte) (*v1.ConfigFile, error) {
	var config v1.ConfigFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, &Error{Kind: ErrFormat, Detail: "this is no image config", Err: err}
	}
	if t := config.RootFS.Type; t != "" && t != "layers" {
		return nil, Errorf(ErrFormat, "the config's root file system is of type %q instead of layers", t)
	}
	if config.OS != "" && config.OS != "linux" {
		return nil, Errorf(ErrPlatform, "this image is for %s; only Linux images can be used", config.Platform())
	}
	for i, id := range config.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return nil, Errorf(ErrFormat, "diff id %d is not a sha256 digest", i+1)
		}
	}
	return &config, nil
}

// CheckCount refuses a config that is of another image than the layers.
func CheckCount(layers int, config *v1.ConfigFile) error {
	if ids := len(config.RootFS.DiffIDs); ids != layers {
		return Errorf(ErrFormat, "the config has %d diff ids for %d layers", ids, layers)
	}
	return nil
}
