package manifest

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is a v1.Image that keeps its config byte for byte.
type Image struct {
	rawConfig []byte
	config    *v1.ConfigFile
	layers    []v1.Layer
	manifest  func() (written, error)
}

var _ v1.Image = (*Image)(nil)

type written struct {
	raw    []byte
	parsed *v1.Manifest
}

// New returns the image with a manifest and config that were found, and its layers, base
// first.
func New(found *Found, layers []v1.Layer) (*Image, error) {
	if err := CheckCount(len(layers), found.Config); err != nil {
		return nil, err
	}
	m := written{found.Raw, found.Manifest}
	return &Image{
		rawConfig: found.RawConfig, config: found.Config, layers: layers,
		manifest: func() (written, error) { return m, nil },
	}, nil
}

// Assemble returns an image from a config and layers, without a manifest. The manifest is
// made when it is first needed, which may require reading all layers. It is an OCI
// manifest, or Docker's if the layers have Docker's media type.
func Assemble(rawConfig []byte, layers []v1.Layer) (*Image, error) {
	config, err := ParseConfig(rawConfig, nil)
	if err != nil {
		return nil, err
	}
	if err := CheckCount(len(layers), config); err != nil {
		return nil, err
	}
	image := &Image{rawConfig: rawConfig, config: config, layers: layers}
	image.manifest = sync.OnceValues(func() (written, error) { return write(rawConfig, layers) })
	return image, nil
}

func write(rawConfig []byte, layers []v1.Layer) (written, error) {
	m := &v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        Descriptor(types.OCIConfigJSON, rawConfig),
		Layers:        []v1.Descriptor{},
	}
	for _, layer := range layers {
		d, err := describe(layer)
		if err != nil {
			return written{}, err
		}
		if d.MediaType == types.DockerLayer || d.MediaType == types.DockerUncompressedLayer {
			m.MediaType, m.Config.MediaType = types.DockerManifestSchema2, types.DockerConfigJSON
		}
		m.Layers = append(m.Layers, d)
	}
	raw, err := json.Marshal(m)
	return written{raw, m}, err
}

func describe(layer v1.Layer) (d v1.Descriptor, err error) {
	if d.Digest, err = layer.Digest(); err != nil {
		return d, err
	}
	if d.Size, err = layer.Size(); err != nil {
		return d, err
	}
	d.MediaType, err = layer.MediaType()
	return d, err
}

// Descriptor returns the descriptor of raw.
func Descriptor(t types.MediaType, raw []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: t, Size: int64(len(raw)), Digest: Digest(raw)}
}

// Digest returns the SHA-256 digest of raw.
func Digest(raw []byte) v1.Hash {
	digest, _, _ := v1.SHA256(bytes.NewReader(raw)) // reading memory does not fail
	return digest
}

// Layers implements v1.Image.
func (i *Image) Layers() ([]v1.Layer, error) { return slices.Clone(i.layers), nil }

// RawConfigFile implements v1.Image.
func (i *Image) RawConfigFile() ([]byte, error) { return i.rawConfig, nil }

// ConfigFile implements v1.Image.
func (i *Image) ConfigFile() (*v1.ConfigFile, error) { return i.config.DeepCopy(), nil }

// ConfigName implements v1.Image. It returns the image's id in Docker.
func (i *Image) ConfigName() (v1.Hash, error) { return Digest(i.rawConfig), nil }

// RawManifest implements v1.Image.
func (i *Image) RawManifest() ([]byte, error) {
	m, err := i.manifest()
	return m.raw, err
}

// Manifest implements v1.Image.
func (i *Image) Manifest() (*v1.Manifest, error) {
	m, err := i.manifest()
	if err != nil {
		return nil, err
	}
	return m.parsed.DeepCopy(), nil
}

// MediaType implements v1.Image.
func (i *Image) MediaType() (types.MediaType, error) {
	m, err := i.manifest()
	switch {
	case err != nil:
		return "", err
	case m.parsed.MediaType != "":
		return m.parsed.MediaType, nil
	case m.parsed.Config.MediaType == types.DockerConfigJSON:
		return types.DockerManifestSchema2, nil
	}
	return types.OCIManifestSchema1, nil
}

// Digest implements v1.Image.
func (i *Image) Digest() (v1.Hash, error) {
	m, err := i.manifest()
	return Digest(m.raw), err
}

// Size implements v1.Image.
func (i *Image) Size() (int64, error) {
	m, err := i.manifest()
	return int64(len(m.raw)), err
}

// LayerByDigest implements v1.Image.
func (i *Image) LayerByDigest(digest v1.Hash) (v1.Layer, error) {
	return i.layer(digest, v1.Layer.Digest)
}

// LayerByDiffID implements v1.Image.
func (i *Image) LayerByDiffID(id v1.Hash) (v1.Layer, error) {
	return i.layer(id, v1.Layer.DiffID)
}

func (i *Image) layer(want v1.Hash, of func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	for _, layer := range i.layers {
		have, err := of(layer)
		if err != nil {
			return nil, err
		}
		if have == want {
			return layer, nil
		}
	}
	return nil, &Error{Part: want.String(), Kind: ErrMissing, Detail: "the image has no such layer"}
}
