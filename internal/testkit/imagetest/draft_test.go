package imagetest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestDraftParts(t *testing.T) {
	layer, err := Links().Layers[0].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := Draft{
		Names: []string{"quirk.test/a:1"}, Config: map[string]any{"os": "linux"}, ConfigType: OCIConfig, ManifestType: OCIManifest,
		Manifest: map[string]any{"mediaType": nil}, Layers: []DraftLayer{{Tar: layer, Blob: []byte("stored"), MediaType: OCILayer}},
		Above: []func(Descriptor) map[string]any{func(m Descriptor) map[string]any {
			return map[string]any{"mediaType": DockerList, "manifests": []Descriptor{m}}
		}},
	}
	p := d.Parts()
	for digest, blob := range p.Blobs {
		if got := Digest(blob); got != digest {
			t.Errorf("the blob %s has the digest %s", digest, got)
		}
	}
	top := p.Documents[p.Top.Digest]
	if top.Name != DockerList || p.Top.MediaType != DockerList {
		t.Errorf("the top is %s and %s, want %s", top.Name, p.Top.MediaType, DockerList)
	}
	var index struct{ Manifests []Descriptor }
	var manifest map[string]json.RawMessage
	if err := json.Unmarshal(top.Data, &index); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(p.Documents[index.Manifests[0].Digest].Data, &manifest); err != nil {
		t.Fatal(err)
	}
	if _, ok := manifest["mediaType"]; ok {
		t.Errorf("the manifest has a media type, which was removed: %s", manifest)
	}
	if want := Digest([]byte("stored")); !strings.Contains(string(manifest["layers"]), want) {
		t.Errorf("the manifest's layers are %s, want %s", manifest["layers"], want)
	}
	if want := Digest(layer); !strings.Contains(string(d.ConfigJSON()), want) {
		t.Errorf("the config is %s, want the diff id %s", d.ConfigJSON(), want)
	}
}

func TestZstdWindow(t *testing.T) {
	for _, size := range []int{0, 1, 128 << 10, 300_000} {
		want := bytes.Repeat([]byte{7}, size)
		for _, limit := range []struct {
			bytes uint64
			fits  bool
		}{{8 << 20, true}, {4 << 20, false}} {
			decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(limit.bytes))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(readerOf(t, decoder, append(ZstdSkippable([]byte("skipped")), ZstdWindow(want, 23)...)))
			if fits := err == nil && bytes.Equal(got, want); fits != limit.fits {
				t.Errorf("%d bytes, window of 8 MiB, limit %d: read %v (%v), want %v", size, limit.bytes, fits, err, limit.fits)
			}
			decoder.Close()
		}
	}
}

func readerOf(t *testing.T, decoder *zstd.Decoder, data []byte) io.Reader {
	t.Helper()
	if err := decoder.Reset(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return decoder
}

func TestPAXMember(t *testing.T) {
	text := append(PAXMember(RawHeader{Name: "short", Type: '0', Size: 0, Mode: 0o640}, []byte("hi\n"), "path", "a/long/name", "size", "3"), EndOfTar()...)
	r := tar.NewReader(bytes.NewReader(text))
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil || h.Name != "a/long/name" || string(data) != "hi\n" || h.Mode != 0o640 {
		t.Errorf("read %q, mode %o, %q, %v", h.Name, h.Mode, data, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the member: %v, want the end", err)
	}
}
