package imagetest

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Compression of an OCI layout's layers.
type Compression string

// Compressions of a layer.
const (
	None Compression = ""
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

const oci = "application/vnd.oci.image."

// WriteOCI writes images as a tar of an OCI layout.
func WriteOCI(w io.Writer, c Compression, images ...*Built) error {
	a := &archive{tw: tar.NewWriter(w), has: map[string]bool{}}
	a.bytes("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	var manifests []Descriptor
	for _, b := range images {
		m := struct {
			SchemaVersion int          `json:"schemaVersion"`
			MediaType     string       `json:"mediaType"`
			Config        Descriptor   `json:"config"`
			Layers        []Descriptor `json:"layers"`
		}{SchemaVersion: 2, MediaType: oci + "manifest.v1+json", Layers: []Descriptor{}}
		for i, l := range b.Contents {
			d, err := a.layer(c, l, b.Tars[i])
			if err != nil {
				return err
			}
			m.Layers = append(m.Layers, d)
		}
		m.Config = a.blob(oci+"config.v1+json", b.JSON)
		text, err := json.Marshal(m)
		if err != nil {
			return err
		}
		d := a.blob(m.MediaType, text)
		d.Platform = map[string]string{"architecture": "amd64", "os": "linux"}
		for _, name := range b.Names {
			d.Annotations = map[string]string{
				"org.opencontainers.image.ref.name": name,
				"io.containerd.image.name":          canonical(name),
			}
			manifests = append(manifests, d)
		}
	}
	text, err := json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		Manifests     []Descriptor `json:"manifests"`
	}{2, manifests})
	if err != nil {
		return err
	}
	a.bytes("index.json", text)
	return a.close()
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func (a *archive) blob(mediaType string, text []byte) Descriptor {
	found, err := measure(func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil && a.fault == nil {
		a.fault = err
	}
	a.bytes(blobPath(found.Digest), text)
	return Descriptor{MediaType: mediaType, Digest: found.Digest, Size: found.Size}
}

// layer writes a layer through a temporary file, since the compressed size comes first.
func (a *archive) layer(c Compression, l Layer, plain blob) (Descriptor, error) {
	if c == None {
		a.stream(blobPath(plain.Digest), plain.Size, l.WriteTar)
		return Descriptor{MediaType: oci + "layer.v1.tar", Digest: plain.Digest, Size: plain.Size}, a.fault
	}
	spool, err := os.CreateTemp("", "layer-")
	if err != nil {
		return Descriptor{}, err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return Descriptor{}, err
	}
	packed, err := measure(func(w io.Writer) error {
		return compress(io.MultiWriter(w, spool), c, l.WriteTar)
	})
	if err != nil {
		return Descriptor{}, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return Descriptor{}, err
	}
	a.stream(blobPath(packed.Digest), packed.Size, func(w io.Writer) error {
		_, err := io.Copy(w, spool)
		return err
	})
	return Descriptor{MediaType: oci + "layer.v1.tar+" + string(c), Digest: packed.Digest, Size: packed.Size}, a.fault
}

func compress(w io.Writer, c Compression, write func(io.Writer) error) error {
	var packer io.WriteCloser
	var err error
	switch c {
	case Gzip:
		packer = gzip.NewWriter(w)
	case Zstd:
		packer, err = zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	default:
		err = fmt.Errorf("no compression %q", c)
	}
	if err != nil {
		return err
	}
	if err := write(packer); err != nil {
		return err
	}
	return packer.Close()
}

// canonical returns the complete name, which is on Docker Hub unless it begins with a host.
func canonical(name string) string {
	host, _, path := strings.Cut(name, "/")
	if path && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return name
	}
	if path {
		return "docker.io/" + name
	}
	return "docker.io/library/" + name
}
