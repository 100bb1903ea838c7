package archive_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/images/archive"
	"thinctl/internal/images/manifest"
)

func checkError(t *testing.T, err error, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	var ours *archive.Error
	if !errors.As(err, &ours) || ours.Op == "" || ours.Object == "" {
		t.Errorf("got %v, want an error with operation and object", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got %q, want %q in it", err, word)
		}
	}
}

// edited is an archive with one thing changed.
type edited struct {
	t     *testing.T
	items []item
}

func (e *edited) at(name string) *item {
	for i := range e.items {
		if e.items[i].name == name {
			return &e.items[i]
		}
	}
	e.t.Fatalf("the archive has no %s", name)
	return nil
}

func (e *edited) remove(name string) {
	at := e.at(name)
	at.name = "gone"
}

func (e *edited) replace(name, before, after string) {
	at := e.at(name)
	if !strings.Contains(at.data, before) {
		e.t.Fatalf("%s has no %q: %s", name, before, at.data)
	}
	at.data = strings.Replace(at.data, before, after, 1)
}

// manifest changes the only manifest of an OCI layout, and the references to it.
func (e *edited) manifest(change func(*v1.Manifest)) {
	e.descriptor(func(index *v1.IndexManifest) {
		d := &index.Manifests[0]
		blob := e.at("blobs/sha256/" + d.Digest.Hex)
		var m v1.Manifest
		if err := json.Unmarshal([]byte(blob.data), &m); err != nil {
			e.t.Fatal(err)
		}
		change(&m)
		raw := must(json.Marshal(m))
		blob.data, d.Digest, d.Size = string(raw), manifest.Digest(raw), int64(len(raw))
		blob.name = "blobs/sha256/" + d.Digest.Hex
	})
}

// config changes the config likewise.
func (e *edited) config(change func(map[string]any)) {
	e.manifest(func(m *v1.Manifest) {
		blob := e.at("blobs/sha256/" + m.Config.Digest.Hex)
		var config map[string]any
		if err := json.Unmarshal([]byte(blob.data), &config); err != nil {
			e.t.Fatal(err)
		}
		change(config)
		raw := must(json.Marshal(config))
		blob.data, m.Config.Digest, m.Config.Size = string(raw), manifest.Digest(raw), int64(len(raw))
		blob.name = "blobs/sha256/" + m.Config.Digest.Hex
	})
}

func (e *edited) descriptor(change func(*v1.IndexManifest)) {
	index := e.at("index.json")
	var parsed v1.IndexManifest
	if err := json.Unmarshal([]byte(index.data), &parsed); err != nil {
		e.t.Fatal(err)
	}
	change(&parsed)
	index.data = string(must(json.Marshal(parsed)))
}

func (e *edited) firstLayer() string {
	var name string
	e.manifest(func(m *v1.Manifest) { name = "blobs/sha256/" + m.Layers[0].Digest.Hex })
	return name
}

func TestBrokenLayouts(t *testing.T) {
	good := itemsOf(t, written(t, archive.WriteOCI, archive.Entry{Names: []string{"a:1"}, Image: randomImage(t, 2)}))
	layerType := func(to types.MediaType) func(*edited) {
		return func(e *edited) { e.manifest(func(m *v1.Manifest) { m.Layers[1].MediaType = to }) }
	}
	for name, c := range map[string]struct {
		change func(*edited)
		kind   error
		words  []string
	}{
		"no index":             {func(e *edited) { e.remove("index.json") }, manifest.ErrMissing, []string{"index.json", "manifest.json"}},
		"index is no JSON":     {func(e *edited) { e.at("index.json").data = "{" }, manifest.ErrFormat, []string{"index.json"}},
		"index lists nothing":  {func(e *edited) { e.descriptor(func(i *v1.IndexManifest) { i.Manifests = nil }) }, manifest.ErrMissing, []string{"no image"}},
		"index and manifest":   {func(e *edited) { e.replace("index.json", `{`, `{"layers":[],`) }, manifest.ErrFormat, []string{"both"}},
		"manifest is missing":  {func(e *edited) { e.descriptor(func(i *v1.IndexManifest) { i.Manifests[0].Digest = zeros }) }, manifest.ErrMissing, []string{zeros.Hex}},
		"manifest is another":  {func(e *edited) { e.descriptor(func(i *v1.IndexManifest) { e.replaceFirst(i.Manifests[0].Digest) }) }, manifest.ErrDigest, nil},
		"manifest is shorter":  {func(e *edited) { e.descriptor(func(i *v1.IndexManifest) { i.Manifests[0].Size++ }) }, manifest.ErrSize, []string{"descriptor says"}},
		"manifest of schema 1": {func(e *edited) { e.manifest(func(m *v1.Manifest) { m.SchemaVersion = 1 }) }, manifest.ErrMediaType, []string{"schema 1"}},
		"config is missing":    {func(e *edited) { e.manifest(func(m *v1.Manifest) { m.Config.Digest = zeros }) }, manifest.ErrMissing, []string{zeros.Hex}},
		"config is no JSON":    {func(e *edited) { e.rawConfig("[]") }, manifest.ErrFormat, []string{"config"}},
		"config of Windows":    {func(e *edited) { e.config(func(c map[string]any) { c["os"] = "windows" }) }, manifest.ErrPlatform, []string{"windows"}},
		"config of a snapshot": {func(e *edited) { e.config(func(c map[string]any) { c["rootfs"] = map[string]any{"type": "base"} }) }, manifest.ErrFormat, []string{"base"}},
		"too few diff ids":     {func(e *edited) { e.config(func(c map[string]any) { c["rootfs"] = map[string]any{"type": "layers"} }) }, manifest.ErrFormat, []string{"0 diff ids for 2 layers"}},
		"layer is missing":     {func(e *edited) { e.remove(e.firstLayer()) }, manifest.ErrMissing, []string{"blobs/sha256/"}},
		"layer is shorter":     {func(e *edited) { at := e.at(e.firstLayer()); at.data = at.data[:10] }, manifest.ErrSize, []string{"10 bytes"}},
		"layer is encrypted":   {layerType("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), manifest.ErrMediaType, []string{"decrypt"}},
		"layer is unknown":     {layerType("application/x-squashfs"), manifest.ErrMediaType, []string{"layer 2", "squashfs"}},
		"layer of minus size":  {func(e *edited) { e.manifest(func(m *v1.Manifest) { m.Layers[0].Size = -5 }) }, manifest.ErrSize, []string{"-5"}},
		"layer is a directory": {func(e *edited) { at := e.at(e.firstLayer()); at.kind, at.data = tar.TypeDir, "" }, manifest.ErrFormat, []string{"not a regular file"}},
		"layer links outside":  {func(e *edited) { e.link(e.firstLayer(), "../../../etc/passwd") }, manifest.ErrEscapes, []string{"../etc/passwd"}},
		"layer links to /etc":  {func(e *edited) { e.link(e.firstLayer(), "/etc/passwd") }, manifest.ErrEscapes, []string{"/etc/passwd"}},
		"layer links to self":  {func(e *edited) { n := e.firstLayer(); e.link(n, filepath.Base(n)) }, manifest.ErrFormat, []string{"cycle"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &edited{t, append([]item(nil), good...)}
			c.change(e)
			refused(t, tarOf(t, e.items...), c.kind, c.words...)
		})
	}
}

var zeros = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}

func (e *edited) replaceFirst(digest v1.Hash) {
	e.replace("blobs/sha256/"+digest.Hex, "sha256:", "sha256;")
}

func (e *edited) rawConfig(raw string) {
	e.manifest(func(m *v1.Manifest) {
		blob := e.at("blobs/sha256/" + m.Config.Digest.Hex)
		m.Config.Digest, m.Config.Size = manifest.Digest([]byte(raw)), int64(len(raw))
		blob.data, blob.name = raw, "blobs/sha256/"+m.Config.Digest.Hex
	})
}

func (e *edited) link(name, to string) {
	at := e.at(name)
	at.kind, at.link, at.data = tar.TypeSymlink, to, ""
}

func refused(t *testing.T, raw []byte, kind error, words ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broken.tar")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(t.Context(), path, archive.Options{TempDir: t.TempDir()})
	if err == nil {
		t.Fatalf("got no error, want one (close: %v)", a.Close())
	}
	checkError(t, err, kind, append(words, "load", path)...)
}

func TestBrokenDockerArchives(t *testing.T) {
	all := itemsOf(t, written(t, archive.WriteDocker, archive.Entry{Names: []string{"a:1"}, Image: randomImage(t, 2)}))
	e := &edited{t, all}
	// As before Docker 25: no OCI layout beside.
	e.remove("index.json")
	e.remove("oci-layout")
	good := e.items
	var list []struct {
		Config string
		Layers []string
	}
	if err := json.Unmarshal([]byte(e.at("manifest.json").data), &list); err != nil {
		t.Fatal(err)
	}
	config, layer := list[0].Config, list[0].Layers[0]
	for name, c := range map[string]struct {
		change func(*edited)
		kind   error
		words  []string
	}{
		"no manifest.json":    {func(e *edited) { e.remove("manifest.json"); e.remove("repositories") }, manifest.ErrMissing, []string{"manifest.json"}},
		"of Docker 1.9":       {func(e *edited) { e.remove("manifest.json") }, manifest.ErrMissing, []string{"/json"}},
		"manifest is no JSON": {func(e *edited) { e.at("manifest.json").data = "[" }, manifest.ErrFormat, []string{"manifest.json"}},
		"manifest of dir:":    {func(e *edited) { e.at("manifest.json").data = `{"schemaVersion":2}` }, manifest.ErrFormat, []string{"skopeo"}},
		"lists nothing":       {func(e *edited) { e.at("manifest.json").data = `[]` }, manifest.ErrMissing, []string{"no image"}},
		"huge manifest":       {func(e *edited) { e.at("manifest.json").data = strings.Repeat(" ", manifest.JSONLimit+1) }, manifest.ErrTooLarge, []string{"manifest.json", "33554432"}},
		"config outside":      {func(e *edited) { e.replace("manifest.json", config, "../../etc/passwd") }, manifest.ErrEscapes, []string{"../../etc/passwd"}},
		"config absolute":     {func(e *edited) { e.replace("manifest.json", config, "/etc/passwd") }, manifest.ErrEscapes, []string{"/etc/passwd"}},
		"config of no name":   {func(e *edited) { e.replace("manifest.json", config, "") }, manifest.ErrEscapes, nil},
		"config is missing":   {func(e *edited) { e.remove(config) }, manifest.ErrMissing, []string{config}},
		"config is another":   {func(e *edited) { e.replace(config, "random.Image", "random,Image") }, manifest.ErrDigest, []string{config}},
		"layer is missing":    {func(e *edited) { e.remove(layer) }, manifest.ErrMissing, []string{layer}},
		"layer outside":       {func(e *edited) { e.replace("manifest.json", layer, "a/../../x") }, manifest.ErrEscapes, []string{"a/../../x"}},
		"a layer too few":     {func(e *edited) { e.replace("manifest.json", `"`+layer+`",`, "") }, manifest.ErrFormat, []string{"2 diff ids for 1 layers"}},
		"a file system": {func(e *edited) {
			e.items = []item{{name: "etc/passwd", data: "root"}, {name: "etc", kind: tar.TypeDir}}
		}, manifest.ErrFormat, []string{"image import"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &edited{t, append([]item(nil), good...)}
			c.change(e)
			refused(t, tarOf(t, e.items...), c.kind, c.words...)
		})
	}
}

func TestBrokenTars(t *testing.T) {
	raw := written(t, archive.WriteDocker, archive.Entry{Names: []string{"a:1"}, Image: randomImage(t, 2)})
	damaged := bytes.Clone(raw)
	damaged[600] ^= 0x55 // in the second header
	for name, c := range map[string]struct {
		raw   []byte
		kind  error
		words []string
	}{
		"empty file":       {nil, manifest.ErrFormat, []string{"empty"}},
		"empty tar":        {make([]byte, 1024), manifest.ErrFormat, []string{"empty"}},
		"text":             {[]byte(strings.Repeat("not a tar at all\n", 100)), manifest.ErrFormat, []string{"not a tar"}},
		"few bytes":        {[]byte("x"), manifest.ErrFormat, []string{"not a tar"}},
		"cut in a layer":   {raw[:3000], manifest.ErrTruncated, []string{"ends here"}},
		"cut at an entry":  {raw[:1024], manifest.ErrTruncated, []string{"ends too early"}},
		"damaged header":   {damaged, manifest.ErrFormat, []string{"damaged after"}},
		"gzip cut":         {gzipped(t, raw)[:4000], manifest.ErrTruncated, []string{"gzip"}},
		"gzip damaged":     {flipped(gzipped(t, raw)), manifest.ErrFormat, []string{"gzip", "damaged"}},
		"zstd cut":         {zstded(t, raw)[:4000], manifest.ErrTruncated, []string{"zstd"}},
		"gzip of nothing":  {gzipped(t, nil), manifest.ErrFormat, []string{"empty"}},
		"gzip header only": {[]byte{0x1f, 0x8b, 0x08, 0, 0}, manifest.ErrTruncated, []string{"gzip"}},
		"xz header only":   {[]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F"), manifest.ErrTruncated, []string{"xz"}},
		"xz":               {[]byte("\xfd7zXZ\x00......"), manifest.ErrFormat, []string{"xz"}},
		"absurd size":      {tarOf(t, item{name: "manifest.json", data: "[", size: 1 << 50}), manifest.ErrTruncated, []string{"manifest.json"}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.raw, c.kind, c.words...) })
	}
}

func flipped(raw []byte) []byte {
	raw[len(raw)-6] ^= 1 // the checksum
	return raw
}

// What is wrong with a layer's contents shows when they are read.
func TestLayersAreCheckedWhileRead(t *testing.T) {
	image := randomImage(t, 2)
	for format, write := range map[string][]byte{
		"docker": written(t, archive.WriteDocker, archive.Entry{Image: image}),
		"oci":    written(t, archive.WriteOCI, archive.Entry{Image: image}),
	} {
		t.Run(format, func(t *testing.T) {
			e := &edited{t, itemsOf(t, write)}
			at := e.at(e.firstLayer())
			data := []byte(at.data)
			data[len(data)-9] ^= 1
			at.data = string(data)
			layers := must(opened(t, tarOf(t, e.items...)).Images()[0].Image.Layers())
			for how, open := range map[string]func() (io.ReadCloser, error){
				"Compressed": layers[0].Compressed, "Uncompressed": layers[0].Uncompressed,
			} {
				r, err := open()
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.Copy(io.Discard, r)
				if err == nil {
					t.Errorf("%s: read a changed layer: got no error, want one", how)
					continue
				}
				if !errors.Is(err, manifest.ErrDigest) && !errors.Is(err, manifest.ErrFormat) {
					t.Errorf("%s: got %v, want %v or %v", how, err, manifest.ErrDigest, manifest.ErrFormat)
				}
				checkError(t, err, err, at.name)
			}
		})
	}
}

func TestLinkOutOfDirectory(t *testing.T) {
	raw := written(t, archive.WriteOCI, archive.Entry{Image: randomImage(t, 1)})
	dir := unpacked(t, raw)
	outside := filepath.Join(t.TempDir(), "index.json")
	if err := os.Rename(filepath.Join(dir, "index.json"), outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	if a, err := archive.Open(t.Context(), dir, archive.Options{}); err == nil {
		t.Errorf("open a directory with a link out of it: got no error, want one (close: %v)", a.Close())
	}
}

func TestWriteRefuses(t *testing.T) {
	image := randomImage(t, 1)
	other := randomImage(t, 1)
	for name, entries := range map[string][]archive.Entry{
		"nothing":         nil,
		"a bad name":      {{Names: []string{"A"}, Image: image}},
		"a name for both": {{Names: []string{"a"}, Image: image}, {Names: []string{"a:latest"}, Image: other}},
		"another config":  {{Image: mismatched{image, other}}},
	} {
		var out bytes.Buffer
		if err := archive.WriteDocker(t.Context(), &out, entries, archive.WriteOptions{}); err == nil || out.Len() > 0 {
			t.Errorf("%s: got %v and %d bytes, want an error and none", name, err, out.Len())
		}
	}
}

type mismatched struct {
	v1.Image
	config v1.Image
}

func (m mismatched) RawConfigFile() ([]byte, error) { return m.config.RawConfigFile() }

func FuzzOpen(f *testing.F) {
	image := randomImage(f, 2)
	for _, raw := range [][]byte{
		written(f, archive.WriteDocker, archive.Entry{Names: []string{"a:1"}, Image: image}),
		written(f, archive.WriteOCI, archive.Entry{Names: []string{"a:1"}, Image: image}),
		tarOf(f, item{name: "manifest.json", data: `[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l"]}]`},
			item{name: "c.json", data: `{"rootfs":{"type":"layers","diff_ids":["sha256:` + zeros.Hex + `"]}}`},
			item{name: "l", kind: tar.TypeSymlink, link: "m"}, item{name: "m", data: "x"}),
		tarOf(f, item{name: "index.json", data: `{"schemaVersion":2,"manifests":[]}`}),
	} {
		f.Add(raw)
		f.Add(zstded(f, raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := archive.Read(t.Context(), bytes.NewReader(raw), archive.Options{TempDir: t.TempDir()})
		if err != nil {
			var ours *archive.Error
			if !errors.As(err, &ours) || ours.Op != "load" {
				t.Errorf("got %v, want an error of package archive", err)
			}
			return
		}
		defer a.Close()
		for _, entry := range a.Images() {
			layers, err := entry.Image.Layers()
			if err != nil {
				t.Fatal(err)
			}
			for _, layer := range layers {
				if r, err := layer.Uncompressed(); err == nil {
					_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20)) // must not panic
					_ = r.Close()
				}
			}
		}
	})
}
