package archive

import (
	"encoding/json"
	"errors"
	"path"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/images/compression"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
)

// errNotDocker is the error for a manifest.json that is not from docker save.
var errNotDocker = errors.New("not a list")

// saved is one image in the manifest.json of docker save.
type saved struct {
	Config       string
	RepoTags     []string
	Layers       []string
	LayerSources map[string]v1.Descriptor `json:",omitempty"` // by diff id
}

// docker reads an archive by its manifest.json. If it is also an OCI layout, the images
// get their original manifests from that.
func (a *Archive) docker(l *layout) ([]Entry, error) {
	raw, err := a.json("manifest.json")
	if err != nil {
		return nil, err
	}
	var list []saved
	if err := json.Unmarshal(raw, &list); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field == "" {
			return nil, errNotDocker
		}
		return nil, &Error{Part: "manifest.json", Kind: manifest.ErrFormat, Err: err, Remedy: "save the image again"}
	}
	if len(list) == 0 {
		return nil, &Error{
			Part: "manifest.json", Kind: manifest.ErrMissing, Detail: "there is no image in it",
			Remedy: "save the image again",
		}
	}
	manifests, err := l.byConfig()
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, image := range list {
		entry, err := a.dockerImage(image, l, manifests)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func (a *Archive) dockerImage(s saved, l *layout, manifests map[v1.Hash]v1.Descriptor) (Entry, error) {
	names := a.canonical("manifest.json", s.RepoTags)
	f, err := a.tree.file(s.Config)
	if err != nil {
		return Entry{}, err
	}
	rawConfig, err := f.whole()
	if err != nil {
		return Entry{}, err
	}
	id := manifest.Digest(rawConfig)
	if promised := hexOf(s.Config); promised != "" && promised != id.Hex {
		e := manifest.Errorf(manifest.ErrDigest, "its contents are %s", id)
		e.Remedy = "save the image again"
		return Entry{}, manifest.In("", "", s.Config, e)
	}
	if d, found := manifests[id]; found {
		image, err := l.find(l.finder(), d)
		return Entry{names, image}, err
	}
	image, err := a.assemble(s, rawConfig)
	return Entry{names, image}, manifest.In("", "", s.Config, err)
}

func (a *Archive) assemble(s saved, rawConfig []byte) (v1.Image, error) {
	config, err := manifest.ParseConfig(rawConfig, a.warn.In("", s.Config))
	if err != nil {
		return nil, err
	}
	if err := manifest.CheckCount(len(s.Layers), config); err != nil {
		return nil, err
	}
	var layers []v1.Layer
	for i, name := range s.Layers {
		id := config.RootFS.DiffIDs[i]
		source, found := s.LayerSources[id.String()]
		if found {
			if err := manifest.CheckLayer(i, source, a.warn); err != nil {
				return nil, err
			}
		}
		layer, err := a.dockerLayer(name, id, source)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	return manifest.Assemble(rawConfig, layers)
}

// dockerLayer describes a layer as far as that is possible without reading it.
func (a *Archive) dockerLayer(name string, id v1.Hash, source v1.Descriptor) (v1.Layer, error) {
	f, err := a.tree.file(name)
	if err != nil {
		return nil, err
	}
	head, err := f.head()
	if err != nil {
		return nil, err
	}
	d := v1.Descriptor{MediaType: types.DockerLayer, Size: f.size}
	switch compression.Sniff(head) {
	case compression.Plain:
		d.MediaType, d.Digest = types.DockerUncompressedLayer, id
	case compression.Zstd:
		d.MediaType = types.OCILayerZStd
	}
	if d.Digest.Hex == "" {
		digest, err := v1.NewHash("sha256:" + hexOf(f.name))
		if err == nil && strings.HasPrefix(f.name, "blobs/sha256/") {
			d.Digest = digest
		} else if source.Size == f.size {
			d.Digest = source.Digest
		}
	}
	return a.layer(f, d, id)
}

// computed returns a function that computes the digest of a file when it is first called.
func computed(f file, d v1.Descriptor) func() (v1.Descriptor, error) {
	return sync.OnceValues(func() (v1.Descriptor, error) {
		r, err := f.open()
		if err != nil {
			return d, err
		}
		d.Digest, d.Size, err = v1.SHA256(r)
		return d, errors.Join(err, r.Close())
	})
}

// hexOf returns the digest in the name of a config's or layer's entry, or "".
func hexOf(name string) string {
	base := strings.TrimPrefix(strings.TrimSuffix(path.Base(name), ".json"), "sha256:")
	if !reference.IsID(base) {
		return ""
	}
	return base
}

// canonical returns the canonical names. It skips an invalid name with a warning: the
// image is loaded with its other names, or without a name, as with docker load
// (image/tarexport/load.go).
func (a *Archive) canonical(part string, names []string) []string {
	var all []string
	for _, name := range names {
		ref, err := reference.Parse(name)
		if err != nil {
			a.warn.Add(part, "the name %q is skipped: %v", name, err)
			continue
		}
		all = append(all, ref.String())
	}
	return all
}
