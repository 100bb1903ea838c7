package leniency

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// archiveQuirks are those of `docker save` and of similar programs.
func archiveQuirks() []quirk {
	a := func(name string, files func([]imagetest.File) []imagetest.File) quirk {
		return quirk{name: "save-" + name, form: dockerArchive, files: files}
	}
	d := func(name string, draft func(*draft)) quirk {
		return quirk{name: "save-" + name, form: dockerArchive, draft: draft}
	}
	return []quirk{
		a("plain", nil),
		{name: "save-docker-1", form: dockerArchive, draft: secondLayer, files: dockerOne},
		{name: "save-docker-1-10", form: dockerArchive, draft: secondLayer,
			files: func(files []imagetest.File) []imagetest.File {
				return append(dockerOne(slices.Clone(files)), files...)
			}},
		{name: "save-same-layer-symlink", form: dockerArchive, draft: secondLayer, files: repeatedLayer(tar.TypeSymlink)},
		{name: "save-same-layer-hardlink", form: dockerArchive, draft: secondLayer, files: repeatedLayer(tar.TypeLink)},
		a("dot-slash", renamed(func(name string) string { return "./" + name })),
		a("absolute-names", renamed(func(name string) string { return "/" + name })),
		a("directories", func(files []imagetest.File) []imagetest.File {
			return append([]imagetest.File{{Name: "./", Type: tar.TypeDir}, {Name: "extra/", Type: tar.TypeDir}}, files...)
		}),
		a("unknown-files", func(files []imagetest.File) []imagetest.File {
			return append(files, imagetest.File{Name: "README.txt", Data: []byte("made by hand")},
				imagetest.File{Name: "null", Type: tar.TypeChar})
		}),
		a("duplicate-layer", func(files []imagetest.File) []imagetest.File {
			return append(files, *named(files, "layer.tar"))
		}),
		a("duplicate-manifest-last-wins", func(files []imagetest.File) []imagetest.File {
			old := imagetest.File{Name: "manifest.json",
				Data: []byte(`[{"Config":"gone.json","RepoTags":["quirk.test/old:1"],"Layers":["gone/layer.tar"]}]`)}
			return append([]imagetest.File{old}, files...)
		}),
		a("manifest-first", func(files []imagetest.File) []imagetest.File {
			slices.Reverse(files)
			return files
		}),
		a("plain-names", func(files []imagetest.File) []imagetest.File {
			named(files, ".json").Name = "config.json"
			files[0].Name = "0.tar"
			return saved(func(i object) { i["Config"], i["Layers"] = "config.json", []string{"0.tar"} })(files)
		}),
		a("config-named-sha256", func(files []imagetest.File) []imagetest.File {
			name := "sha256:" + strings.TrimSuffix(files[1].Name, ".json")
			files[1].Name = name
			return saved(func(i object) { i["Config"] = name })(files)
		}),
		a("unknown-fields", saved(func(i object) { i["Parent"], i["X-Own"] = "", object{"a": 1} })),
		a("no-tags", saved(func(i object) { i["RepoTags"] = nil })),
		a("name-outside-grammar",
			saved(func(i object) { i["RepoTags"] = []any{"quirk.test/k3s:v1.28.2+k3s1", i["RepoTags"].([]any)[0]} })),
		a("name-upper-case", saved(func(i object) { i["RepoTags"] = []any{"quirk.test/Upper:1", i["RepoTags"].([]any)[0]} })),
		a("name-none", saved(func(i object) { i["RepoTags"] = []any{"<none>:<none>", i["RepoTags"].([]any)[0]} })),
		a("name-twice", saved(func(i object) { i["RepoTags"] = append(i["RepoTags"].([]any), i["RepoTags"].([]any)[0]) })),
		d("config-unknown-fields", func(d *draft) {
			d.Config["x-own"] = object{"k": 1}
			d.Config["config"].(object)["Healthcheck"] = object{"Test": []string{"CMD", "true"}, "StartInterval": 5e8}
		}),
		d("config-without-dates", func(d *draft) {
			delete(d.Config, "created")
			d.Config["history"] = []any{object{"created_by": "no date"}}
		}),
		d("config-without-platform", func(d *draft) {
			delete(d.Config, "os")
			delete(d.Config, "architecture")
		}),
		d("config-without-config", func(d *draft) { delete(d.Config, "config") }),
		d("config-null-config", func(d *draft) { d.Config["config"] = nil }),
		d("config-history-short", func(d *draft) { d.Config["history"] = []any{} }),
		d("config-history-long", func(d *draft) {
			d.Config["history"] = []any{object{"created_by": "one"}, object{"created_by": "two"}, object{"created_by": "three"}}
		}),
		d("config-rootfs-without-type", func(d *draft) { d.Config["rootfs"] = object{"diff_ids": d.DiffIDs()} }),
		d("no-layers", func(d *draft) {
			d.Layers, d.shown = nil, nil
			d.Config["author"] = d.name
		}),
		{name: "save-no-end", form: dockerArchive,
			pack: func(b []byte) ([]byte, error) { return bytes.TrimRight(b, "\x00"), nil }},
		{name: "save-zeros-after-end", form: dockerArchive, pack: then(plain, strings.Repeat("\x00", 100_000))},
		{name: "save-garbage-after-end", form: dockerArchive, pack: then(plain, strings.Repeat("garbage\n", 1000))},
	}
}

func secondLayer(d *draft) { d.add(d.own("two")) }

// repeatedLayer stores a third layer, which equals the second, as a link to it, as Docker
// does.
func repeatedLayer(kind byte) func([]imagetest.File) []imagetest.File {
	return func(files []imagetest.File) []imagetest.File {
		second := files[1].Name
		files = append(files, imagetest.File{Name: "again/layer.tar", Type: kind, Link: second})
		if kind == tar.TypeSymlink {
			files[len(files)-1].Link = "../" + second
		}
		return saved(func(i object) { i["Layers"] = []any{i["Layers"].([]any)[0], "again/layer.tar"} })(files)
	}
}

// dockerOne returns an archive as Docker before 1.10 wrote it: a directory for each layer
// with its own config, and names in "repositories".
func dockerOne(files []imagetest.File) []imagetest.File {
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(named(files, "manifest.json").Data, &list); err != nil {
		panic(err)
	}
	var out []imagetest.File
	parent := ""
	for _, layer := range list[0].Layers {
		id := strings.TrimPrefix(imagetest.Digest([]byte(parent+layer)), "sha256:")
		config := object{"id": id, "created": "2015-06-07T08:09:10Z", "docker_version": "1.8.3",
			"architecture": "amd64", "os": "linux", "config": object{"Cmd": []string{"/hello"}}}
		if parent != "" {
			config["parent"] = parent
		}
		text, err := json.Marshal(config)
		if err != nil {
			panic(err)
		}
		out = append(out, imagetest.File{Name: id + "/", Type: tar.TypeDir},
			imagetest.File{Name: id + "/VERSION", Data: []byte("1.0")}, imagetest.File{Name: id + "/json", Data: text},
			imagetest.File{Name: id + "/layer.tar", Data: named(files, layer).Data})
		parent = id
	}
	name, tag, _ := strings.Cut(list[0].RepoTags[0], ":")
	text, err := json.Marshal(object{name: object{tag: parent}})
	if err != nil {
		panic(err)
	}
	return append(out, imagetest.File{Name: "repositories", Data: text})
}

// packedQuirks are whole archives that are compressed.
func packedQuirks() []quirk {
	p := func(name string, pack func([]byte) ([]byte, error)) quirk {
		return quirk{name: "packed-" + name, form: dockerArchive, pack: pack}
	}
	return []quirk{
		p("gzip", gzipped),
		p("gzip-zeros-after", then(gzipped, strings.Repeat("\x00", 512))),
		p("gzip-garbage-after", then(gzipped, "garbage")),
		p("zstd", zstd),
		p("zstd-window-8m", window(23)),
		p("zstd-window-128m", window(27)),
		p("xz", by("xz")),
		p("bzip2", by("bzip2")),
		{name: "packed-layout-gzip", form: layoutArchive, pack: gzipped},
		{name: "packed-layout-xz", form: layoutArchive, pack: by("xz")},
	}
}
