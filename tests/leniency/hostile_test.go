package leniency

import (
	"archive/tar"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"thinctl/internal/testkit/imagetest"
)

// hostileQuirks are refused by thinctl, whatever the other programs do.
func hostileQuirks() []quirk {
	a := func(name, reason string, files func([]imagetest.File) []imagetest.File) quirk {
		return quirk{name: "hostile-" + name, form: dockerArchive, files: files, hostile: true, reason: reason}
	}
	layout := func(name, reason string, files func([]imagetest.File) []imagetest.File) quirk {
		return quirk{name: "hostile-" + name, form: layoutArchive, files: files, hostile: true, reason: reason}
	}
	m := func(name, reason string, members ...member) quirk {
		return quirk{name: "hostile-" + name, form: dockerArchive, hostile: true, reason: reason, draft: func(d *draft) {
			d.addMembers(append(members, regular("own", d.name)), file("own", d.name))
		}}
	}
	pull := func(name, reason string, parts func(*imagetest.Parts), serve wrapper) quirk {
		return quirk{name: "hostile-pull-" + name, form: registry, hostile: true, reason: reason, parts: parts, serve: serve}
	}
	const (
		escapes = "the entry names a path outside of the root"
		removes = "the whiteout names its own directory or the parent"
		digest  = "the contents have another digest than was promised"
		outside = "the archive names a file outside of itself"
		twofold = "one document is both a manifest and an index (CVE-2021-41190)"
	)
	return []quirk{
		m("parent", escapes, regular("../escaped", "x")),
		m("parent-behind-directory", escapes, directory("a"), regular("a/../../escaped", "x")),
		m("parent-absolute", escapes, regular("/../../escaped", "x")),
		m("parent-directory", escapes, directory("../escaped/")),
		m("symlink-parent-then-up", escapes, soft("s", "/tmp"), regular("s/../../escaped", "x")),
		m("hard-link-parent", escapes, hard("h", "../../../../../../etc/passwd")),
		m("hard-link-through-symlink", "the link's target is not in the root", soft("s", "../../../../../../etc"),
			hard("h", "s/shadow")),
		m("hard-link-absolute", "the link's target is not in the root", hard("h", "/etc/shadow")),
		m("whiteout-parent", escapes, regular("../.wh.escaped", "")),
		m("whiteout-of-parent", removes, directory("a"), regular("a/.wh...", "")),
		m("whiteout-of-itself", removes, directory("a"), regular("a/.wh..", "")),

		{name: "hostile-diff-id", form: dockerArchive, hostile: true, reason: digest, draft: func(d *draft) {
			d.Config["rootfs"] = object{"type": "layers", "diff_ids": []string{imagetest.Digest([]byte(d.name))}}
		}},
		{name: "hostile-diff-id-gzip", form: dockerArchive, hostile: true, reason: digest, draft: func(d *draft) {
			d.stored(gzipped)
			d.Config["rootfs"] = object{"type": "layers", "diff_ids": []string{imagetest.Digest([]byte(d.name))}}
		}},
		{name: "hostile-garbage-after-own-tar", form: dockerArchive, hostile: true, reason: digest, draft: func(d *draft) {
			d.Config["rootfs"] = object{"type": "layers", "diff_ids": d.DiffIDs()}
			d.last().Blob = append(slices.Clone(d.last().Tar), strings.Repeat("\x00", 10240)...)
		}},
		{name: "hostile-too-few-diff-ids", form: dockerArchive, hostile: true,
			reason: "a layer has no diff id to be checked by", draft: func(d *draft) {
				d.Config["rootfs"] = object{"type": "layers", "diff_ids": d.DiffIDs()}
				d.add(d.own("second"))
			}},
		a("config-digest", digest, func(files []imagetest.File) []imagetest.File {
			f := named(files, ".json")
			f.Data = append(f.Data, ' ')
			return files
		}),
		a("config-outside", outside, saved(func(i object) { i["Config"] = "../../../../etc/hostname" })),
		a("layer-outside", outside, saved(func(i object) { i["Layers"] = []string{"../../../../etc/hostname"} })),
		a("layer-link-outside", outside, func(files []imagetest.File) []imagetest.File {
			*named(files, "layer.tar") = imagetest.File{Name: named(files, "layer.tar").Name, Type: tar.TypeSymlink,
				Link: "/etc/shadow"}
			return files
		}),
		a("layer-missing", "a layer is not in the archive",
			func(files []imagetest.File) []imagetest.File { return files[1:] }),
		{name: "hostile-archive-cut", form: dockerArchive, hostile: true, reason: "the archive ends within a layer",
			pack: func(b []byte) ([]byte, error) { return b[:2000], nil }},

		layout("blob-digest", digest, func(files []imagetest.File) []imagetest.File {
			for i, f := range files {
				if strings.Contains(string(f.Data), "ustar\x00") {
					files[i].Data = []byte(strings.Replace(string(f.Data), "hello\n", "HELLO\n", 1))
				}
			}
			return files
		}),
		layout("manifest-digest", digest, func(files []imagetest.File) []imagetest.File {
			for i, f := range files {
				if strings.Contains(string(f.Data), `"layers":[{`) {
					files[i].Data = []byte(strings.Replace(string(f.Data), `"schemaVersion":2`, `"schemaVersion": 2`, 1))
				}
			}
			return files
		}),
		layout("manifest-size", "the manifest has another size than was promised", indexed(func(e object) { e["size"] = 7 })),
		{name: "hostile-manifest-and-index", form: layoutArchive, hostile: true, reason: twofold, draft: func(d *draft) {
			d.Manifest = object{"manifests": []any{}}
		}},

		pull("blob-digest", digest, func(p *imagetest.Parts) {
			for digest, blob := range p.Blobs {
				p.Blobs[digest] = append(slices.Clone(blob[:len(blob)-1]), blob[len(blob)-1]^1)
			}
		}, nil),
		{name: "hostile-pull-manifest-digest", form: registry, hostile: true, reason: digest,
			ref: func(d *draft, at string) string { return at + "@" + d.Parts().Top.Digest },
			parts: func(p *imagetest.Parts) {
				f := p.Documents[p.Top.Digest]
				f.Data = append(slices.Clone(f.Data), ' ')
				p.Documents[p.Top.Digest] = f
			}},
		{name: "hostile-pull-diff-id", form: registry, hostile: true, reason: digest, draft: func(d *draft) {
			d.Config["rootfs"] = object{"type": "layers", "diff_ids": []string{imagetest.Digest([]byte(d.name))}}
		}},
		{name: "hostile-pull-manifest-and-index", form: registry, hostile: true, reason: twofold, draft: func(d *draft) {
			d.Manifest = object{"manifests": []any{}}
		}},
		pull("manifest-html", "the answer is a page of HTML", nil,
			on("manifests", func(w http.ResponseWriter, _ *http.Request) bool {
				html(w, http.StatusOK)
				return true
			})),
		pull("blobs-html", digest, nil, on("blobs", func(w http.ResponseWriter, _ *http.Request) bool {
			html(w, http.StatusOK)
			return true
		})),
		pull("denied-html", "the registry answers 403 with a page of HTML", nil,
			on("manifests", func(w http.ResponseWriter, _ *http.Request) bool {
				html(w, http.StatusForbidden)
				return true
			})),
		pull("redirect-forever", "the registry redirects without end", nil, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			})
		}),
		pull("token-not-json", "the token server answers with HTML", nil, func(next http.Handler) http.Handler {
			return guarded(func(string) any { return json.RawMessage(`"<html>"`) })(next)
		}),
	}
}
