package leniency

import (
	"encoding/json"
	"slices"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// layoutQuirks are those of OCI layouts: their index, manifests and media types.
func layoutQuirks() []quirk {
	a := func(name string, files func([]imagetest.File) []imagetest.File) quirk {
		return quirk{name: "layout-" + name, form: layoutArchive, files: files}
	}
	d := func(name string, draft func(*draft)) quirk {
		return quirk{name: "layout-" + name, form: layoutArchive, draft: draft}
	}
	return []quirk{
		a("plain", nil),
		{name: "layout-directory", form: layoutDir},
		a("dot-slash", renamed(func(name string) string { return "./" + name })),
		a("without-version", func(files []imagetest.File) []imagetest.File { return files[1:] }),
		a("version-unknown", func(files []imagetest.File) []imagetest.File {
			files[0].Data = []byte(`{"imageLayoutVersion":"2.0.0"}`)
			return files
		}),
		a("version-empty", func(files []imagetest.File) []imagetest.File {
			files[0].Data = []byte(`{}`)
			return files
		}),
		a("index-without-schema", func(files []imagetest.File) []imagetest.File {
			return rewrite(files, "index.json", func(i object) object {
				delete(i, "schemaVersion")
				return i
			})
		}),
		a("index-media-type-unknown", func(files []imagetest.File) []imagetest.File {
			return rewrite(files, "index.json", func(i object) object {
				i["mediaType"] = "application/json"
				return i
			})
		}),
		a("index-first", func(files []imagetest.File) []imagetest.File {
			slices.Reverse(files)
			return files
		}),
		a("entry-without-media-type", indexed(func(e object) { delete(e, "mediaType") })),
		a("entry-media-type-unknown", indexed(func(e object) { e["mediaType"] = "application/octet-stream" })),
		a("entry-without-size", indexed(func(e object) { delete(e, "size") })),
		a("entry-without-name", indexed(func(e object) { delete(e, "annotations") })),
		a("entry-name-is-tag", indexed(func(e object) { e["annotations"] = object{"org.opencontainers.image.ref.name": "latest"} })),
		a("entry-name-outside-grammar", indexed(func(e object) {
			e["annotations"] = object{"org.opencontainers.image.ref.name": "quirk.test/k3s:v1+k3s1"}
		})),
		a("duplicate-index-last-wins", func(files []imagetest.File) []imagetest.File {
			old := imagetest.File{Name: "index.json", Data: []byte(`{"schemaVersion":2,"manifests":[]}`)}
			return append([]imagetest.File{old}, files...)
		}),
		a("duplicate-blobs", func(files []imagetest.File) []imagetest.File {
			return append(files, files[1:len(files)-1]...)
		}),
		a("both-formats", bothFormats),
		d("manifest-without-media-type", func(d *draft) { d.Manifest = object{"mediaType": nil} }),
		d("manifest-without-schema", func(d *draft) { d.Manifest = object{"schemaVersion": nil} }),
		d("manifest-artifact-type", func(d *draft) {
			d.Manifest = object{"artifactType": "application/x.own", "annotations": object{"a": "b"}}
		}),
		d("docker-types", func(d *draft) {
			d.ManifestType, d.ConfigType, d.last().MediaType = imagetest.DockerManifest, imagetest.DockerConfig, imagetest.DockerLayer
		}),
		d("types-mixed", func(d *draft) { d.last().MediaType = imagetest.DockerLayer }),
		d("config-type-octet-stream", func(d *draft) { d.ConfigType = "application/octet-stream" }),
		d("config-type-json", func(d *draft) { d.ConfigType = "application/json" }),
		d("config-type-none", func(d *draft) { d.ConfigType = "" }),
		d("layer-type-octet-stream", func(d *draft) { d.last().MediaType = "application/octet-stream" }),
		d("layer-type-none", func(d *draft) { d.last().MediaType = "" }),
		d("layer-type-tar-gzip", func(d *draft) {
			d.stored(gzipped)
			d.last().MediaType = "application/x-gzip"
		}),
		d("layer-type-foreign", func(d *draft) { d.last().MediaType = imagetest.DockerLayer + ".foreign" }),
		d("layer-type-nondistributable", func(d *draft) {
			d.last().MediaType = strings.Replace(imagetest.OCILayer, "layer.", "layer.nondistributable.", 1)
		}),
		d("layer-says-gzip-is-plain", func(d *draft) { d.last().MediaType += "+gzip" }),
		d("layer-says-plain-is-gzip", func(d *draft) { d.stored(gzipped) }),
		d("layer-says-gzip-is-zstd", func(d *draft) {
			d.stored(zstd)
			d.last().MediaType += "+gzip"
		}),
		d("layer-zstd", func(d *draft) {
			d.stored(zstd)
			d.last().MediaType += "+zstd"
		}),
		d("layer-zstd-docker-type", func(d *draft) {
			d.stored(zstd)
			d.last().MediaType = imagetest.DockerLayer + ".zstd"
		}),
		d("index-above", func(d *draft) { d.Above = []func(imagetest.Descriptor) object{over()} }),
		d("index-nested", func(d *draft) { d.Above = []func(imagetest.Descriptor) object{over(), over()} }),
		d("index-without-platform", func(d *draft) { d.Above = []func(imagetest.Descriptor) object{without("platform")} }),
		d("index-attestation", func(d *draft) { d.Above = []func(imagetest.Descriptor) object{attested(true)} }),
		d("index-attestation-unmarked", func(d *draft) { d.Above = []func(imagetest.Descriptor) object{attested(false)} }),
		d("index-other-platform-missing",
			func(d *draft) { d.Above = []func(imagetest.Descriptor) object{over("arm64", "s390x")} }),
		d("index-variant", func(d *draft) { d.Above = []func(imagetest.Descriptor) object{variant("v1")} }),
		d("no-layers", func(d *draft) {
			d.Layers, d.shown = nil, nil
			d.Config["author"] = d.name
		}),
	}
}

func index(entries ...any) object {
	return object{"schemaVersion": 2, "mediaType": imagetest.OCIIndex, "manifests": entries}
}

func onPlatform(d imagetest.Descriptor, architecture string) imagetest.Descriptor {
	d.Platform = map[string]string{"os": "linux", "architecture": architecture}
	return d
}

// over returns an index over an image, with entries of other platforms whose manifests are
// missing.
func over(others ...string) func(imagetest.Descriptor) object {
	return func(d imagetest.Descriptor) object {
		var entries []any
		for _, other := range others {
			entries = append(entries, onPlatform(imagetest.Describe(d.MediaType, []byte(other)), other))
		}
		return index(append(entries, onPlatform(d, "amd64"))...)
	}
}

// without returns an index whose entry lacks a field.
func without(field string) func(imagetest.Descriptor) object {
	return func(d imagetest.Descriptor) object {
		var entry object
		text, err := json.Marshal(onPlatform(d, "amd64"))
		if err == nil {
			err = json.Unmarshal(text, &entry)
		}
		if err != nil {
			panic(err)
		}
		delete(entry, field)
		return index(entry)
	}
}

func variant(name string) func(imagetest.Descriptor) object {
	return func(d imagetest.Descriptor) object {
		d = onPlatform(d, "amd64")
		d.Platform["variant"] = name
		return index(d)
	}
}

// attested returns an index of an image and its attestation, as BuildKit writes it. The
// attestation's manifest is missing: no program needs it.
func attested(marked bool) func(imagetest.Descriptor) object {
	return func(d imagetest.Descriptor) object {
		proof := onPlatform(imagetest.Describe(d.MediaType, []byte("attestation")), "unknown")
		proof.Platform["os"] = "unknown"
		if marked {
			proof.Annotations = map[string]string{
				"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": d.Digest,
			}
		}
		return index(proof, onPlatform(d, "amd64"))
	}
}

// bothFormats returns what Docker 25 and later save: a layout with a manifest.json whose
// paths are those of the blobs.
func bothFormats(files []imagetest.File) []imagetest.File {
	var config, layer string
	for _, f := range files {
		switch {
		case strings.Contains(string(f.Data), `"diff_ids"`):
			config = f.Name
		case strings.Contains(string(f.Data), "ustar\x00"):
			layer = f.Name
		}
	}
	entry := named(files, "index.json").Data
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(entry, &index); err != nil {
		panic(err)
	}
	name := index.Manifests[0].Annotations["io.containerd.image.name"]
	text, err := json.Marshal([]object{{"Config": config, "RepoTags": []string{name}, "Layers": []string{layer}}})
	if err != nil {
		panic(err)
	}
	return append(files, imagetest.File{Name: "manifest.json", Data: text})
}
