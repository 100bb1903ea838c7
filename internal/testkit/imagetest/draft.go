package imagetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
)

// Media types of the Open Container Initiative and of Docker.
const (
	OCIManifest    = oci + "manifest.v1+json"
	OCIIndex       = oci + "index.v1+json"
	OCIConfig      = oci + "config.v1+json"
	OCILayer       = oci + "layer.v1.tar"
	DockerManifest = docker + "distribution.manifest.v2+json"
	DockerList     = docker + "distribution.manifest.list.v2+json"
	DockerConfig   = docker + "container.image.v1+json"
	DockerLayer    = docker + "image.rootfs.diff.tar"

	docker = "application/vnd.docker."
)

// Draft is an image as bytes. Each part of it can be changed before it is written, also to
// invalid ones.
type Draft struct {
	Names        []string
	Config       map[string]any // rootfs is added if it is absent
	ConfigType   string
	ManifestType string
	Manifest     map[string]any // more fields of the manifest; nil removes one
	Layers       []DraftLayer
	// Above are indexes, each with an entry for the one before it.
	Above []func(Descriptor) map[string]any
}

// DraftLayer is a layer of a Draft.
type DraftLayer struct {
	Tar       []byte // its digest is the diff id
	Blob      []byte // the layer as it is stored, nil for Tar itself
	MediaType string
}

// Descriptor is the OCI descriptor of a blob. Empty fields are left out.
type Descriptor struct {
	MediaType   string            `json:"mediaType,omitempty"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    map[string]string `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	URLs        []string          `json:"urls,omitempty"`
}

// Parts holds a draft's documents and blobs by their digests.
type Parts struct {
	Top       Descriptor // of the manifest, or of the index above it
	Documents map[string]File
	Blobs     map[string][]byte
}

// File is a file of an archive. A zero Type is a regular file. A document's Name is its
// media type.
type File struct {
	Name string
	Data []byte
	Type byte
	Link string
}

// Stored returns the layer's blob.
func (l DraftLayer) Stored() []byte {
	if l.Blob == nil {
		return l.Tar
	}
	return l.Blob
}

// ConfigJSON returns the config's blob.
func (d *Draft) ConfigJSON() []byte {
	config := maps.Clone(d.Config)
	if _, ok := config["rootfs"]; !ok {
		config["rootfs"] = map[string]any{"type": "layers", "diff_ids": d.DiffIDs()}
	}
	return mustJSON(config)
}

// DiffIDs returns the digests of the layers' tars, base first.
func (d *Draft) DiffIDs() []string {
	ids := []string{}
	for _, l := range d.Layers {
		ids = append(ids, Digest(l.Tar))
	}
	return ids
}

// ID returns the config's digest, 64 hexadecimal digits.
func (d *Draft) ID() string { return strings.TrimPrefix(Digest(d.ConfigJSON()), "sha256:") }

// Parts builds the manifest and the indexes above it.
func (d *Draft) Parts() Parts {
	p := Parts{Documents: map[string]File{}, Blobs: map[string][]byte{}}
	config := d.ConfigJSON()
	layers := []Descriptor{}
	for _, l := range d.Layers {
		layers = append(layers, p.blob(l.MediaType, l.Stored()))
	}
	m := map[string]any{
		"schemaVersion": 2, "mediaType": d.ManifestType, "config": p.blob(d.ConfigType, config), "layers": layers,
	}
	maps.Copy(m, d.Manifest)
	maps.DeleteFunc(m, func(_ string, value any) bool { return value == nil })
	p.Top = p.Document(d.ManifestType, mustJSON(m))
	for _, above := range d.Above {
		index := above(p.Top)
		mediaType, _ := index["mediaType"].(string)
		p.Top = p.Document(mediaType, mustJSON(index))
	}
	return p
}

func (p *Parts) blob(mediaType string, data []byte) Descriptor {
	p.Blobs[Digest(data)] = data
	return Describe(mediaType, data)
}

// Document adds a manifest or an index.
func (p *Parts) Document(mediaType string, data []byte) Descriptor {
	p.Documents[Digest(data)] = File{Name: mediaType, Data: data}
	return Describe(mediaType, data)
}

// Describe returns the descriptor of a blob.
func Describe(mediaType string, data []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: Digest(data), Size: int64(len(data))}
}

// Digest returns "sha256:" and the hexadecimal SHA-256 of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// DockerFiles returns the files of `docker save`, with layers compressed as in the draft.
func (d *Draft) DockerFiles() []File {
	var files []File
	var names []string
	for i, l := range d.Layers {
		name := strings.TrimPrefix(d.DiffIDs()[i], "sha256:") + "/layer.tar"
		names = append(names, name)
		if !slices.ContainsFunc(files, func(f File) bool { return f.Name == name }) {
			files = append(files, File{Name: name, Data: l.Stored()})
		}
	}
	list := []map[string]any{{"Config": d.ID() + ".json", "RepoTags": d.Names, "Layers": names}}
	config := File{Name: d.ID() + ".json", Data: d.ConfigJSON()}
	return append(files, config, File{Name: "manifest.json", Data: mustJSON(list)})
}

// LayoutFiles returns the files of an OCI layout.
func (d *Draft) LayoutFiles(p Parts) []File {
	files := []File{{Name: "oci-layout", Data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	for _, digest := range slices.Sorted(maps.Keys(p.Blobs)) {
		files = append(files, File{Name: blobPath(digest), Data: p.Blobs[digest]})
	}
	for _, digest := range slices.Sorted(maps.Keys(p.Documents)) {
		files = append(files, File{Name: blobPath(digest), Data: p.Documents[digest].Data})
	}
	manifests := []Descriptor{}
	for _, name := range d.Names {
		top := p.Top
		top.Annotations = map[string]string{
			"org.opencontainers.image.ref.name": name, "io.containerd.image.name": canonical(name),
		}
		manifests = append(manifests, top)
	}
	if len(manifests) == 0 {
		manifests = append(manifests, p.Top)
	}
	index := mustJSON(map[string]any{"schemaVersion": 2, "manifests": manifests})
	return append(files, File{Name: "index.json", Data: index})
}

// Tar returns the uncompressed tar of files, in their order, with any names.
func Tar(files ...File) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := tar.Header{
			Typeflag: f.Type, Name: f.Name, Linkname: f.Link, Size: int64(len(f.Data)), Mode: 0o644, ModTime: epoch,
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// Bytes returns the layer as an uncompressed tar.
func (l Layer) Bytes() ([]byte, error) {
	var out bytes.Buffer
	err := l.WriteTar(&out)
	return out.Bytes(), err
}

// Compressed returns compressed data, for the compressions that have a writer.
func Compressed(c Compression, data []byte) ([]byte, error) {
	var out bytes.Buffer
	err := compress(&out, c, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return out.Bytes(), err
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps, strings and numbers only
	}
	return text
}
