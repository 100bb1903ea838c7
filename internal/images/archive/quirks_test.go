package archive_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/archive"
	"thinctl/internal/images/manifest"
	"thinctl/internal/testkit/need"
)

// read opens an archive, and returns its images' names and its warnings.
func read(t *testing.T, raw []byte) (a *archive.Archive, names, warnings []string) {
	t.Helper()
	a, err := archive.Read(t.Context(), bytes.NewReader(raw), archive.Options{
		TempDir: t.TempDir(), Name: "in.tar", Warn: func(w fault.Warning) {
			if w.Detail != "the image has no platform" { // a random image's config has none
				warnings = append(warnings, w.String())
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	for _, entry := range a.Images() {
		names = append(names, strings.Join(entry.Names, "+"))
	}
	return a, names, warnings
}

// TestQuirks reads archives that are unusual, but that Docker, containerd or
// skopeo accept.
func TestQuirks(t *testing.T) {
	image := randomImage(t, 2)
	want := contentsOf(t, image)
	docker := &edited{t, itemsOf(t, written(t, archive.WriteDocker, archive.Entry{Names: []string{"a:1"}, Image: image}))}
	docker.remove("index.json")
	docker.remove("oci-layout")
	oci := itemsOf(t, written(t, archive.WriteOCI, archive.Entry{Names: []string{"a:1"}, Image: image}))
	layerOf := func(e *edited) string {
		var list []struct{ Layers []string }
		if err := json.Unmarshal([]byte(e.at("manifest.json").data), &list); err != nil {
			t.Fatal(err)
		}
		return list[0].Layers[0]
	}
	const a1 = "docker.io/library/a:1"
	for _, c := range []struct {
		name   string
		items  []item
		change func(*edited)
		names  string
		warn   string // what the only warning has; "" for none
	}{
		{"docker, as written", docker.items, func(*edited) {}, a1, ""},
		{"a name outside of the grammar", docker.items, func(e *edited) { e.replace("manifest.json", `"a:1"`, `"x/y:v1+k3s1","a:1"`) }, a1, `manifest.json: the name "x/y:v1+k3s1" is skipped`},
		{"nothing but such names", docker.items, func(e *edited) { e.replace("manifest.json", `"a:1"`, `"a:"`) }, "", `"a:" is skipped`},
		{"several names", docker.items, func(e *edited) { e.replace("manifest.json", `"a:1"`, `"a:1","b"`) }, a1 + "+docker.io/library/b:latest", ""},
		{"no names", docker.items, func(e *edited) { e.replace("manifest.json", `["a:1"]`, `null`) }, "", ""},
		{"a layer there twice", docker.items, func(e *edited) { e.items = append(e.items, *e.at(layerOf(e))) }, a1, "several times"},
		{"another manifest.json before", docker.items, func(e *edited) { e.items = append([]item{{name: "manifest.json", data: "[]"}}, e.items...) }, a1, "manifest.json: this entry is there several times"},
		{"absolute names", docker.items, func(e *edited) {
			for i := range e.items {
				e.items[i].name = "/" + e.items[i].name
			}
		}, a1, ""},
		{"names with ./", docker.items, func(e *edited) {
			for i := range e.items {
				e.items[i].name = "./" + e.items[i].name
			}
			e.replace("./manifest.json", `"Config":"`, `"Config":"./`)
		}, a1, ""},
		{"a layer that is a symbolic link", docker.items, func(e *edited) {
			at := e.at(layerOf(e))
			e.items = append(e.items, item{name: "real/layer.tar", data: at.data})
			at.kind, at.link, at.data = tar.TypeSymlink, "../../real/layer.tar", ""
		}, a1, ""},
		{"a layer that is a hard link", docker.items, func(e *edited) {
			at := e.at(layerOf(e))
			e.items = append([]item{{name: "real/layer.tar", data: at.data}}, e.items...)
			at = e.at(layerOf(e))
			at.kind, at.link, at.data = tar.TypeLink, "real/layer.tar", ""
		}, a1, ""},
		{"OCI, as written", oci, func(*edited) {}, a1, ""},
		{"OCI, a name outside of the grammar", oci, func(e *edited) { e.replace("index.json", "library/a:1", "library/A:1") }, "", "lower-case letters"},
		{"OCI of version 2", oci, func(e *edited) { e.replace("oci-layout", "1.0.0", "2.0.0") }, a1, "2.0.0"},
		{"OCI without oci-layout", oci, func(e *edited) { e.remove("oci-layout") }, a1, ""},
		{"OCI, an entry without a size", oci, func(e *edited) {
			e.descriptor(func(i *v1.IndexManifest) { i.Manifests[0].Size = 0 })
		}, a1, "no size"},
		{"OCI, a config without a size", oci, func(e *edited) {
			e.manifest(func(m *v1.Manifest) { m.Config.Size = 0 })
		}, a1, "no size"},
		{"OCI, a layer without a size", oci, func(e *edited) {
			e.manifest(func(m *v1.Manifest) { m.Layers[0].Size = 0 })
		}, a1, "no size"},
		{"OCI, index.json there twice", oci, func(e *edited) { e.items = append(e.items, *e.at("index.json")) }, a1, "index.json: this entry is there several times"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &edited{t, slices.Clone(c.items)}
			c.change(e)
			raw := tarOf(t, e.items...)
			for how, raw := range map[string][]byte{"plain": raw, "gzip": gzipped(t, raw), "trailing zeros": append(raw, make([]byte, 5000)...), "trailing data": append(raw, "data"...), "ends too early": raw[:len(raw)-1024]} {
				a, names, warnings := read(t, raw)
				if len(names) != 1 || names[0] != c.names {
					t.Fatalf("%s: got the names %q, want %q", how, names, c.names)
				}
				if got := contentsOf(t, a.Images()[0].Image); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: got another image", how)
				}
				warnings = slices.Compact(slices.Sorted(slices.Values(warnings)))
				if c.warn == "" && len(warnings) > 0 || c.warn != "" && (len(warnings) != 1 || !strings.Contains(warnings[0], c.warn) || !strings.HasPrefix(warnings[0], "in.tar: ")) {
					t.Errorf("%s: got the warnings %q, want one of in.tar with %q", how, warnings, c.warn)
				}
			}
		})
	}
}

// TestCompressedArchives reads archives that other programs have compressed.
func TestCompressedArchives(t *testing.T) {
	raw := written(t, archive.WriteDocker, archive.Entry{Names: []string{"a:1"}, Image: randomImage(t, 1)})
	for _, command := range [][]string{{"gzip"}, {"xz"}, {"bzip2"}, {"zstd", "--ultra", "--long=27"}} {
		c := exec.Command(need.Program(t, command[0]), append(command[1:], "-c")...)
		c.Stdin = bytes.NewReader(raw)
		packed, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if _, names, warnings := read(t, packed); len(names) != 1 || len(warnings) != 0 {
			t.Errorf("%s: got the names %q and the warnings %q, want one and none", command, names, warnings)
		}
	}
}

// TestSparseArchive reads an archive that GNU tar has made with --sparse, with a
// layer that has holes.
func TestSparseArchive(t *testing.T) {
	layer := tarOf(t, item{name: "zeros", data: strings.Repeat("\x00", 1<<20) + "data"})
	config := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + manifest.Digest(layer).String() + `"]}}`
	dense, dir := t.TempDir(), t.TempDir()
	for name, data := range map[string]string{
		"layer.tar": string(layer), "config.json": config, "manifest.json": `[{"Config":"config.json","RepoTags":["a:1"],"Layers":["layer.tar"]}]`,
	} {
		if err := os.WriteFile(filepath.Join(dense, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "--sparse=always", filepath.Join(dense, name), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, format := range []string{"gnu", "posix"} {
		raw, err := exec.Command("tar", "-C", dir, "-cS", "--format="+format, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > len(layer)/2 {
			t.Fatalf("%s: got a tar of %d bytes, want one with a sparse layer", format, len(raw))
		}
		a, _, _ := read(t, raw)
		layers := must(a.Images()[0].Image.Layers())
		if got := must(io.ReadAll(must(layers[0].Uncompressed()))); !bytes.Equal(got, layer) {
			t.Errorf("%s: the layer has other contents", format)
		}
	}
}

// TestDockerBefore110 reads an archive in the format of Docker 1.9.
func TestDockerBefore110(t *testing.T) {
	base, top := strings.Repeat("a", 64), strings.Repeat("b", 64)
	layers := []string{string(tarOf(t, item{name: "one", data: "1"})), string(tarOf(t, item{name: "two", data: "2"}))}
	items := []item{
		{name: top + "/VERSION", data: "1.0"},
		{name: top + "/json", data: `{"id":"` + top + `","parent":"` + base + `","created":"2015-11-21T10:00:00Z","container_config":{"Cmd":["/bin/sh","-c","make"]},` +
			`"config":{"Cmd":["/run"],"X-Own":1},"architecture":"amd64","os":"linux","Size":5}`},
		{name: top + "/layer.tar", data: layers[1]},
		{name: base + "/VERSION", data: "1.0"},
		{name: base + "/json", data: `{"id":"` + base + `","created":"2015-11-20T10:00:00Z","author":"me","architecture":"amd64","os":"linux"}`},
		{name: base + "/layer.tar", data: layers[0]},
		{name: "repositories", data: `{"a":{"1":"` + top + `","bad tag":"` + top + `"}}`},
	}
	a, names, warnings := read(t, tarOf(t, items...))
	if fmt.Sprint(names) != "[docker.io/library/a:1]" || len(warnings) != 2 {
		t.Fatalf("got the names %q and the warnings %q, want one and two", names, warnings)
	}
	image := a.Images()[0].Image
	raw := string(must(image.RawConfigFile()))
	for _, word := range []string{`"X-Own":1`, `"Cmd":["/run"]`, `"created_by":"/bin/sh -c make"`} {
		if !strings.Contains(raw, word) {
			t.Errorf("the config lacks %s: %s", word, raw)
		}
	}
	if strings.Contains(raw, `"parent"`) || strings.Contains(raw, `"Size"`) {
		t.Errorf("the config has fields of the old format: %s", raw)
	}
	for i, layer := range must(image.Layers()) {
		if got, want := must(layer.DiffID()), manifest.Digest([]byte(layers[i])); got != want {
			t.Errorf("layer %d: got the diff id %s, want %s", i, got, want)
		}
		if got := string(must(io.ReadAll(must(layer.Uncompressed())))); got != layers[i] {
			t.Errorf("layer %d has other contents", i)
		}
	}
	if config := must(image.ConfigFile()); len(config.History) != 2 || config.History[0].Author != "me" || config.Platform().String() != "linux/amd64" {
		t.Errorf("got the config %+v, want two steps, the first by me, for linux/amd64", config)
	}
	change := func(at int, before, after string) []byte {
		changed := slices.Clone(items)
		changed[at].data = strings.Replace(changed[at].data, before, after, 1)
		return tarOf(t, changed...)
	}
	refused(t, change(4, `"created"`, `"parent":"`+top+`","created"`), manifest.ErrTooLarge, "cycle")
	refused(t, change(1, `"parent":"`+base, `"parent":"../`+base), manifest.ErrFormat, "id")
	refused(t, change(1, `"parent":"`+base, `"parent":"`+strings.Repeat("c", 64)), manifest.ErrMissing, "/json")
}
