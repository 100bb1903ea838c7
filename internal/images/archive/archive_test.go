package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"

	"thinctl/internal/images/archive"
	"thinctl/internal/images/manifest"
)

// randomImage has n layers and the config of a Linux image.
func randomImage(t testing.TB, n int64) v1.Image {
	t.Helper()
	image, err := random.Image(3000, n)
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.Config(image, v1.Config{Env: []string{"A=<b>&c"}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// contents holds the parts of an image that do not depend on its manifest.
type contents struct {
	Config  string
	DiffIDs []string
	Tars    []string // digests of what Uncompressed gives
}

func contentsOf(t testing.TB, image v1.Image) contents {
	t.Helper()
	raw, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := contents{Config: string(raw)}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		id, err := layer.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		c.DiffIDs = append(c.DiffIDs, id.String())
		r, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		digest, _, err := v1.SHA256(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		c.Tars = append(c.Tars, digest.String())
	}
	return c
}

// checkManifest looks whether manifest and blobs are of each other.
func checkManifest(t testing.TB, image v1.Image) {
	t.Helper()
	m, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if digest := digestOf(t, image); digest != manifest.Digest(raw) {
		t.Errorf("manifest: got digest %s, want %s", manifest.Digest(raw), digest)
	}
	if name := must(image.ConfigName()); m.Config.Digest != name || name != manifest.Digest(must(image.RawConfigFile())) {
		t.Errorf("config: got digest %s, want %s as in the manifest", name, m.Config.Digest)
	}
	for i, layer := range must(image.Layers()) {
		r, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		digest, size, err := v1.SHA256(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		got := v1.Descriptor{MediaType: must(layer.MediaType()), Digest: digest, Size: size}
		if diff := cmp.Diff(m.Layers[i], got); diff != "" {
			t.Errorf("layer %d (-manifest +layer):\n%s", i, diff)
		}
		if found, err := image.LayerByDigest(digest); err != nil || must(found.Digest()) != digest {
			t.Errorf("layer %d is not found by digest: %v", i, err)
		}
		if found, err := image.LayerByDiffID(must(layer.DiffID())); err != nil || must(found.Digest()) != digest {
			t.Errorf("layer %d is not found by diff id: %v", i, err)
		}
	}
}

func digestOf(t testing.TB, image v1.Image) v1.Hash {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func written(t testing.TB, write func(context.Context, io.Writer, []archive.Entry, archive.WriteOptions) error, entries ...archive.Entry) []byte {
	t.Helper()
	var buffer bytes.Buffer
	if err := write(t.Context(), &buffer, entries, archive.WriteOptions{TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func opened(t testing.TB, raw []byte) *archive.Archive {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return openedPath(t, path)
}

func openedPath(t testing.TB, path string) *archive.Archive {
	t.Helper()
	temp := t.TempDir()
	a, err := archive.Open(t.Context(), path, archive.Options{TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("names of temporary files: got %v, %v; want none", left, err)
	}
	return a
}

func TestRoundTrips(t *testing.T) {
	first, second := randomImage(t, 3), randomImage(t, 1)
	shared, err := mutate.AppendLayers(first, must(second.Layers())...)
	if err != nil {
		t.Fatal(err)
	}
	none, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}})
	if err != nil {
		t.Fatal(err)
	}
	given := []archive.Entry{
		{Names: []string{"first", "registry.example:5000/a/b:v1"}, Image: first},
		{Image: second},
		{Names: []string{"shared:2"}, Image: shared},
		{Names: []string{"none"}, Image: none},
	}
	wantNames := [][]string{{"docker.io/library/first:latest", "registry.example:5000/a/b:v1"}, nil, {"docker.io/library/shared:2"}, {"docker.io/library/none:latest"}}
	for format, write := range map[string]func(context.Context, io.Writer, []archive.Entry, archive.WriteOptions) error{
		"docker": archive.WriteDocker, "oci": archive.WriteOCI,
	} {
		t.Run(format, func(t *testing.T) {
			got := opened(t, written(t, write, given...)).Images()
			if len(got) != len(given) {
				t.Fatalf("got %d images, want %d", len(got), len(given))
			}
			for i := range given {
				if diff := cmp.Diff(wantNames[i], got[i].Names); diff != "" {
					t.Errorf("image %d: names:\n%s", i, diff)
				}
				if diff := cmp.Diff(contentsOf(t, given[i].Image), contentsOf(t, got[i].Image)); diff != "" {
					t.Errorf("image %d:\n%s", i, diff)
				}
				checkManifest(t, got[i].Image)
				if format == "oci" && digestOf(t, got[i].Image) != digestOf(t, given[i].Image) {
					t.Errorf("image %d: the manifest has changed", i)
				}
			}
		})
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestEveryWayIn(t *testing.T) {
	image := randomImage(t, 2)
	want := contentsOf(t, image)
	for format, raw := range map[string][]byte{
		"docker": written(t, archive.WriteDocker, archive.Entry{Image: image}),
		"oci":    written(t, archive.WriteOCI, archive.Entry{Image: image}),
	} {
		check := func(t *testing.T, a *archive.Archive) {
			t.Helper()
			if diff := cmp.Diff(want, contentsOf(t, a.Images()[0].Image)); diff != "" {
				t.Error(diff)
			}
		}
		t.Run(format+"/tar", func(t *testing.T) { check(t, opened(t, raw)) })
		t.Run(format+"/gzip", func(t *testing.T) { check(t, opened(t, gzipped(t, raw))) })
		t.Run(format+"/zstd", func(t *testing.T) { check(t, opened(t, zstded(t, raw))) })
		t.Run(format+"/directory", func(t *testing.T) { check(t, openedPath(t, unpacked(t, raw))) })
		t.Run(format+"/reader", func(t *testing.T) {
			a, err := archive.Read(t.Context(), bytes.NewReader(gzipped(t, raw)), archive.Options{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			check(t, a)
		})
		t.Run(format+"/named pipe", func(t *testing.T) {
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			go func() {
				w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
				if err != nil {
					return // the reader fails, too
				}
				defer w.Close()
				_, _ = w.Write(raw)
			}()
			check(t, openedPath(t, pipe))
		})
	}
}

func gzipped(t testing.TB, raw []byte) []byte {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func zstded(t testing.TB, raw []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(raw, nil)
}

// unpacked returns a directory with the files of a tar.
func unpacked(t testing.TB, raw []byte) string {
	dir := t.TempDir()
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o700)
		} else {
			err = os.WriteFile(at, must(io.ReadAll(r)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	image := randomImage(t, 2)
	entry := archive.Entry{Names: []string{"a:1", "b:2"}, Image: image}
	if !bytes.Equal(written(t, archive.WriteDocker, entry), written(t, archive.WriteDocker, entry)) {
		t.Error("WriteDocker wrote other bytes the second time")
	}
	if !bytes.Equal(written(t, archive.WriteOCI, entry), written(t, archive.WriteOCI, entry)) {
		t.Error("WriteOCI wrote other bytes the second time")
	}
}

// Archives of other programs are read, and other programs read archives of this package.
func TestAgainstGoContainerregistry(t *testing.T) {
	image := randomImage(t, 3)
	want := contentsOf(t, image)
	tag := must(name.NewTag("example.org/a:1"))

	t.Run("their tarball", func(t *testing.T) {
		var buffer bytes.Buffer
		if err := tarball.Write(tag, image, &buffer); err != nil {
			t.Fatal(err)
		}
		got := opened(t, buffer.Bytes()).Images()[0]
		if diff := cmp.Diff([]string{"example.org/a:1"}, got.Names); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, contentsOf(t, got.Image)); diff != "" {
			t.Error(diff)
		}
		if err := validate.Image(got.Image); err != nil {
			t.Error(err)
		}
	})
	t.Run("their layout", func(t *testing.T) {
		dir := t.TempDir()
		l, err := layout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "example.org/a:1"})); err != nil {
			t.Fatal(err)
		}
		got := openedPath(t, dir).Images()[0]
		if digestOf(t, got.Image) != digestOf(t, image) {
			t.Error("got another manifest")
		}
		if diff := cmp.Diff([]string{"example.org/a:1"}, got.Names); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, contentsOf(t, got.Image)); diff != "" {
			t.Error(diff)
		}
	})
	raw := written(t, archive.WriteDocker, archive.Entry{Names: []string{"example.org/a:1"}, Image: image})
	t.Run("our tarball", func(t *testing.T) {
		got, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, &tag)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, contentsOf(t, got)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("our tarball as a layout", func(t *testing.T) {
		l, err := layout.FromPath(unpacked(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		images, err := partial.FindImages(must(l.ImageIndex()), match.Annotation("io.containerd.image.name", "example.org/a:1"))
		if err != nil || len(images) != 1 {
			t.Fatal(images, err)
		}
		checkManifest(t, images[0])
		if diff := cmp.Diff(want, contentsOf(t, images[0])); diff != "" {
			t.Error(diff)
		}
	})
}

// The very files that every docker load has read since 1.10.
func TestWhatDockerLoadReads(t *testing.T) {
	image := randomImage(t, 2)
	raw := written(t, archive.WriteDocker, archive.Entry{Names: []string{"web:1", "web:2"}, Image: image})
	files := map[string][]byte{}
	var order []string
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := files[h.Name]; twice {
			t.Errorf("got two entries %s, want one", h.Name)
		}
		files[h.Name], order = must(io.ReadAll(r)), append(order, h.Name)
	}
	ids := contentsOf(t, image).DiffIDs
	id := must(image.ConfigName())
	blob := func(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }
	want := fmt.Sprintf(`[{"Config":%q,"RepoTags":["web:1","web:2"],"Layers":[%q,%q]}]`, blob(id.String()), blob(ids[0]), blob(ids[1]))
	if got := string(files["manifest.json"]); got != want {
		t.Errorf("manifest.json is\n%s, want\n%s", got, want)
	}
	top := strings.TrimPrefix(ids[1], "sha256:")
	if got, want := string(files["repositories"]), fmt.Sprintf(`{"web":{"1":%q,"2":%q}}`, top, top); got != want {
		t.Errorf("repositories: got\n%s, want\n%s", got, want)
	}
	if got := string(files["oci-layout"]); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: got %s, want version 1.0.0", got)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 2 {
		t.Fatalf("index.json: got %d manifests and %v, want 2", len(index.Manifests), err)
	}
	for _, digest := range append(ids, id.String(), index.Manifests[0].Digest.String()) {
		if manifest.Digest(files[blob(digest)]).String() != digest {
			t.Errorf("blob %s is missing or has other contents", digest)
		}
	}
	if len(order) != 2+2+2+4 { // directories, layers, config and manifest, the four files
		t.Errorf("got the entries %q, want 10", order)
	}
}

// Before Docker 25 a layer that two images share was a link in the second.
func TestOldDockerSave(t *testing.T) {
	image := randomImage(t, 2)
	c := contentsOf(t, image)
	layers := must(image.Layers())
	tars := make([][]byte, 2)
	for i := range layers {
		tars[i] = must(io.ReadAll(must(layers[i].Uncompressed())))
	}
	config := strings.TrimPrefix(must(image.ConfigName()).String(), "sha256:") + ".json"
	m := `[{"Config":"` + config + `","RepoTags":["a:1"],"Layers":["one/layer.tar","two/layer.tar"]},{"Config":"` + config + `","RepoTags":null,"Layers":["three/layer.tar","four/layer.tar"]}]`
	a := opened(t, tarOf(t,
		item{name: "./one/layer.tar", data: string(tars[0])}, item{name: "one/VERSION", data: "1.0"},
		item{name: "two/layer.tar", data: string(gzipped(t, tars[1]))},
		item{name: "three/layer.tar", link: "../one/layer.tar", kind: tar.TypeSymlink},
		item{name: "four/layer.tar", link: "two/layer.tar", kind: tar.TypeLink},
		item{name: config, data: c.Config},
		item{name: "manifest.json", data: m},
	))
	if got := len(a.Images()); got != 2 {
		t.Fatalf("got %d images, want 2", got)
	}
	for i, entry := range a.Images() {
		if diff := cmp.Diff(c, contentsOf(t, entry.Image)); diff != "" {
			t.Errorf("image %d (-want +got):\n%s", i, diff)
		}
		checkManifest(t, entry.Image)
	}
}

func TestLayersOpenInParallelAndAnyOrder(t *testing.T) {
	image := randomImage(t, 12)
	want := contentsOf(t, image)
	for format, raw := range map[string][]byte{
		"docker": written(t, archive.WriteDocker, archive.Entry{Image: image}),
		"oci":    zstded(t, written(t, archive.WriteOCI, archive.Entry{Image: image})),
	} {
		layers := must(opened(t, raw).Images()[0].Image.Layers())
		var group sync.WaitGroup
		for i := len(layers) - 1; i >= 0; i-- {
			group.Go(func() {
				r, err := layers[i].Uncompressed()
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				if digest, _, err := v1.SHA256(r); err != nil || digest.String() != want.Tars[i] {
					t.Errorf("%s: layer %d: got %v, %v; want %s", format, i, digest, err, want.Tars[i])
				}
			})
		}
		group.Wait()
	}
}

func TestPlatforms(t *testing.T) {
	arm, amd := withPlatform(t, "arm64"), withPlatform(t, "amd64")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}},
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	)
	nested, flat := t.TempDir(), t.TempDir()
	if err := must(layout.Write(nested, empty.Index)).AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	must(layout.Write(flat, index))
	for _, dir := range []string{nested, flat} {
		for arch, want := range map[string]v1.Image{"arm64": arm, "amd64": amd} {
			a, err := archive.Open(t.Context(), dir, archive.Options{Platform: v1.Platform{OS: "linux", Architecture: arch}})
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Images()) != 1 || digestOf(t, a.Images()[0].Image) != digestOf(t, want) {
				t.Errorf("%s: got %d images, want the one for this platform", arch, len(a.Images()))
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err := archive.Open(t.Context(), dir, archive.Options{Platform: v1.Platform{OS: "linux", Architecture: "s390x"}})
		checkError(t, err, manifest.ErrPlatform, "linux/s390x is not among linux/amd64, linux/arm64")
	}
}

func withPlatform(t *testing.T, arch string) v1.Image {
	image := randomImage(t, 1)
	config := must(image.ConfigFile())
	config.OS, config.Architecture = "linux", arch
	image, err := mutate.ConfigFile(image, config)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	begin := time.Now()
	if _, err := archive.Read(ctx, r, archive.Options{}); err == nil || ctx.Err() == nil {
		t.Errorf("read a pipe without a writer: got %v, want the end of the context", err)
	}
	if took := time.Since(begin); took > 2*time.Minute {
		t.Errorf("got a wait of %v, want at most 2 minutes", took)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	image := randomImage(t, 1)
	err = archive.WriteDocker(ended, io.Discard, []archive.Entry{{Image: image}}, archive.WriteOptions{})
	if err == nil {
		t.Error("write under an ended context: got no error, want one")
	}
}

// item is one entry of a tar.
type item struct {
	name, data, link string
	kind             byte
	size             int64 // where it is not that of data
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Typeflag: i.kind, Linkname: i.link, Mode: 0o644, Size: int64(len(i.data))}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if i.size > 0 {
			h.Size = i.size
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.data); err != nil {
			t.Fatal(err)
		}
		if i.size > 0 {
			return buffer.Bytes()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func itemsOf(t testing.TB, raw []byte) []item {
	t.Helper()
	var items []item
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return items
		}
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item{name: path.Clean(h.Name), data: string(must(io.ReadAll(r))), kind: h.Typeflag, link: h.Linkname})
	}
}
