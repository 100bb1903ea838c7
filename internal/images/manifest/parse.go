package manifest

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/fault"
)

// JSONLimit is the largest accepted size of a manifest, index or config. Registries accept
// at most 4 MiB.
const JSONLimit = 32 << 20

// Media types that go-containerregistry has no constant for.
const (
	// DockerZstdLayer is the type of a zstd-compressed layer in Docker's manifests.
	DockerZstdLayer   types.MediaType = "application/vnd.docker.image.rootfs.diff.tar.zstd"
	ociRestrictedZstd types.MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
)

// generic lists media types that registries and tools write if they have no
// better one. Docker accepts them for configs and layers (moby,
// daemon/internal/distribution/registry.go, defaultImageTypes).
var generic = []types.MediaType{"", "application/octet-stream", "application/json", "text/html", "text/plain"}

// archives lists media types of tars and of compressed files in general.
var archives = []types.MediaType{
	"application/tar", "application/x-tar", "application/tar+gzip", "application/x-tgz", "application/gzip",
	"application/x-gzip", "application/zstd", "application/x-zstd", "application/tar+zstd",
}

// shape has the members by which manifests and indexes differ.
type shape struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	ArtifactType  string          `json:"artifactType"`
	Manifests     present         `json:"manifests"`
	Config        present         `json:"config"`
	Layers        present         `json:"layers"`
	FSLayers      present         `json:"fsLayers"`
	Blobs         present         `json:"blobs"`
}

// present is true for a member that exists and is not null.
type present bool

func (p *present) UnmarshalJSON(raw []byte) error {
	*p = string(raw) != "null"
	return nil
}

// IsIndex reports whether raw is an index (else it is an image manifest). Its
// own members decide. declared is the media type in its descriptor or in the registry's
// reply, which may be missing or wrong.
func IsIndex(raw []byte, declared types.MediaType, warn fault.Warn) (bool, error) {
	var s shape
	if err := json.Unmarshal(raw, &s); err != nil {
		return false, &Error{Kind: ErrFormat, Detail: "neither an image manifest nor an index", Err: err}
	}
	if err := s.check(cmp.Or(s.MediaType, declared)); err != nil {
		return false, err
	}
	index := bool(s.Manifests) || bool(!s.Layers && !s.Config) && cmp.Or(s.MediaType, declared).IsIndex()
	want, what := types.MediaType.IsImage, "an image manifest"
	if index {
		want, what = types.MediaType.IsIndex, "an index"
	}
	for _, t := range []types.MediaType{s.MediaType, declared} {
		switch {
		case t == "" || want(t):
		case s.MediaType.IsIndex() && !index || s.MediaType.IsImage() && index:
			return index, Errorf(ErrFormat, "%s of the media type %q", what, s.MediaType)
		default:
			warn.Add("", "media type %q: it was read as %s", t, what)
		}
	}
	if declared != "" && s.MediaType != "" && declared != s.MediaType && want(declared) && want(s.MediaType) {
		warn.Add("", "the declared media type is %q, the manifest's own is %q", declared, s.MediaType)
	}
	return index, nil
}

// check returns an error for JSON that is neither an image manifest nor an index.
func (s shape) check(mediaType types.MediaType) error {
	switch {
	case s.SchemaVersion == 1 && bool(!s.Manifests), bool(s.FSLayers), s.MediaType.IsSchema1():
		return &Error{
			Kind: ErrMediaType, Detail: "a manifest of Docker's schema 1, which has no image config",
			Remedy: "push the image again with Docker 1.10 or later, or convert it: skopeo copy --format v2s2",
		}
	case bool(s.Manifests && (s.Layers || s.Config)):
		// It would be read in two ways: CVE-2021-41190.
		return Errorf(ErrFormat, "both an image manifest and an index")
	case bool(s.Blobs && !s.Config):
		return artifact(s.ArtifactType)
	case bool(!s.Manifests && !s.Layers && !s.Config) && !mediaType.IsIndex():
		return Errorf(ErrMediaType, "neither an image manifest nor an index, of %s", named(mediaType))
	}
	return nil
}

// artifact returns the error for other objects in registries than images: charts,
// signatures, attestations, modules.
func artifact(kind string) error {
	e := Errorf(ErrMediaType, "an artifact, not a container image")
	if kind != "" {
		e = Errorf(ErrMediaType, "an artifact of the type %q, not a container image", kind)
	}
	e.Remedy = "use a tool for this kind of artifact, such as oras or helm"
	return e
}

func named(t types.MediaType) string {
	if t == "" {
		return "no media type"
	}
	return "the media type " + string(t)
}

// Parse reads an image's manifest, of Docker or OCI.
func Parse(raw []byte, warn fault.Warn) (*v1.Manifest, error) {
	m := &v1.Manifest{}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, &Error{Kind: ErrFormat, Detail: "not an image manifest", Err: err}
	}
	index, err := IsIndex(raw, "", nil)
	switch {
	case err != nil:
		return nil, err
	case index:
		return nil, Errorf(ErrMediaType, "an index, not an image manifest")
	case m.SchemaVersion != 2:
		warn.Add("", "schema version %d: read as 2", m.SchemaVersion)
	}
	if err := checkConfig(m.Config); err != nil {
		return nil, err
	}
	for i, layer := range m.Layers {
		if err := CheckLayer(i, layer, warn); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func checkConfig(d v1.Descriptor) error {
	switch {
	case d.Digest.Hex == "":
		return artifact("")
	case d.MediaType == types.DockerPluginConfig:
		return artifact("plugin of Docker")
	}
	return checkDescriptor(d)
}

// CheckConfig returns an error for the config of an artifact. The media type of a config is
// often wrong, so that its contents decide: the config of an image lists the layers.
func CheckConfig(d v1.Descriptor, layers int, config *v1.ConfigFile, warn fault.Warn) error {
	if !d.MediaType.IsConfig() {
		if layers == 0 || len(config.RootFS.DiffIDs) == 0 {
			return In("", "", d.Digest.String(), artifact(string(d.MediaType)))
		}
		warn.Add("config", "it has %s: read as an image's", named(d.MediaType))
	}
	return CheckCount(layers, config)
}

// CheckLayer returns an error for a layer that is not a file tree, or that has an invalid
// descriptor. The index of the base layer is 0.
func CheckLayer(i int, d v1.Descriptor, warn fault.Warn) error {
	part, number := d.Digest.String(), i+1
	where := func(err *Error) error {
		err.Part = part
		return err
	}
	foreign := !d.MediaType.IsDistributable() || d.MediaType == ociRestrictedZstd
	switch {
	case foreign:
		warn.Add(part, "layer %d is a foreign layer: %s", number, d.MediaType)
	case d.MediaType.IsLayer(), d.MediaType == DockerZstdLayer:
	case strings.Contains(string(d.MediaType), "encrypted"):
		err := Errorf(ErrMediaType, "layer %d is %s", number, d.MediaType)
		err.Remedy = "decrypt the image first"
		return where(err)
	case strings.HasPrefix(string(d.MediaType), "application/vnd.oci.image.layer."),
		strings.HasPrefix(string(d.MediaType), "application/vnd.docker.image.rootfs."),
		slices.Contains(generic, d.MediaType), slices.Contains(archives, d.MediaType):
		warn.Add(part, "layer %d has %s: read as a tar", number, named(d.MediaType))
	default:
		const format = "layer %d has %s: this is an artifact, not a container image"
		err := Errorf(ErrMediaType, format, number, named(d.MediaType))
		err.Remedy = "use a tool for this kind of artifact"
		return where(err)
	}
	return checkDescriptor(d)
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

// ParseIndex reads an index or manifest list. Entries that cannot be read are
// left out with a warning.
func ParseIndex(raw []byte, warn fault.Warn) (*v1.IndexManifest, error) {
	var index struct {
		v1.IndexManifest
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, &Error{Kind: ErrFormat, Detail: "not an index", Err: err}
	}
	is, err := IsIndex(raw, "", nil)
	switch {
	case err != nil:
		return nil, err
	case !is:
		return nil, Errorf(ErrMediaType, "an image manifest, not an index")
	case index.SchemaVersion != 2:
		warn.Add("", "schema version %d: read as 2", index.SchemaVersion)
	}
	for i, entry := range index.Manifests {
		var d v1.Descriptor
		err := json.Unmarshal(entry, &d)
		if err == nil {
			err = checkDescriptor(d)
		}
		if err != nil {
			warn.Add("", "entry %d is left out: %v", i+1, err)
			continue
		}
		index.IndexManifest.Manifests = append(index.IndexManifest.Manifests, d)
	}
	return &index.IndexManifest, nil
}
