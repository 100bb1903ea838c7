package archive

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/manifest"
)

// maxDepth bounds the nesting of indexes in an archive with a manifest.json.
const maxDepth = 4

// The annotations with an image's name in OCI layouts.
const (
	annotationName = "io.containerd.image.name"          // the whole name
	annotationRef  = "org.opencontainers.image.ref.name" // the tag, or the whole name
)

// layout reads an archive by its index.json.
type layout struct {
	archive  *Archive
	platform v1.Platform
}

func (l *layout) entries() ([]Entry, error) {
	index, err := l.root()
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, group := range grouped(index.Manifests) {
		image, err := l.choose(group)
		if err != nil {
			return nil, manifest.In("", "", "index.json", err)
		}
		entries = merge(entries, Entry{l.archive.canonical("index.json", namesOf(group)), image})
	}
	if len(entries) == 0 {
		return nil, &Error{
			Part: "index.json", Kind: manifest.ErrMissing, Detail: "there is no image in it",
			Remedy: "copy the image again",
		}
	}
	return entries, nil
}

func (l *layout) root() (*v1.IndexManifest, error) {
	if l.archive.tree.has("oci-layout") {
		raw, err := l.archive.json("oci-layout")
		if err != nil {
			return nil, err
		}
		var version struct {
			Version string `json:"imageLayoutVersion"`
		}
		if err := json.Unmarshal(raw, &version); err != nil || !strings.HasPrefix(version.Version, "1.") {
			l.archive.warn.Add(
				"oci-layout", "version %q of the OCI layout is not known; it is read as 1.0.0", version.Version,
			)
		}
	}
	raw, err := l.archive.json("index.json")
	if err != nil {
		return nil, err
	}
	index, err := manifest.ParseIndex(raw, l.archive.warn.In("", "index.json"))
	return index, manifest.In("", "", "index.json", err)
}

// grouped groups the entries of index.json that are one image for several platforms:
// entries with a platform and the same name. Each other entry is an image.
func grouped(all []v1.Descriptor) [][]v1.Descriptor {
	var groups [][]v1.Descriptor
	for _, d := range all {
		if manifest.Attestation(d) {
			continue
		}
		at := slices.IndexFunc(groups, func(g []v1.Descriptor) bool {
			return d.Platform != nil && g[0].Platform != nil && sameName(g[0], d)
		})
		if at < 0 {
			groups = append(groups, []v1.Descriptor{d})
		} else {
			groups[at] = append(groups[at], d)
		}
	}
	return groups
}

func sameName(a, b v1.Descriptor) bool {
	return a.Annotations[annotationName] == b.Annotations[annotationName] &&
		a.Annotations[annotationRef] == b.Annotations[annotationRef]
}

// choose returns a group's image. A single image is accepted for any platform.
func (l *layout) choose(group []v1.Descriptor) (v1.Image, error) {
	finder := l.finder()
	if len(group) > 1 {
		found, err := finder.Choose(group)
		return l.image(found, err)
	}
	return l.find(finder, group[0])
}

// find returns the image of a manifest or index.
func (l *layout) find(finder manifest.Finder, d v1.Descriptor) (v1.Image, error) {
	read, err := l.Manifest(d)
	if err != nil {
		return nil, err
	}
	found, err := finder.Image(read)
	return l.image(found, err)
}

func (l *layout) finder() manifest.Finder {
	return manifest.Finder{Source: l, Platform: l.platform, Warn: l.archive.warn}
}

// Manifest implements manifest.Source.
func (l *layout) Manifest(d v1.Descriptor) (manifest.Read, error) {
	raw, err := l.archive.blob(d)
	d.Size = int64(len(raw))
	return manifest.Read{Descriptor: d, Raw: raw}, err
}

// Config implements manifest.Source.
func (l *layout) Config(d v1.Descriptor) ([]byte, error) { return l.archive.blob(d) }

// Part implements manifest.Source.
func (l *layout) Part(d v1.Descriptor) string { return blobPath(d.Digest) }

// image returns the image of a manifest, whose layers are all in the archive.
func (l *layout) image(found *manifest.Found, err error) (v1.Image, error) {
	if err != nil {
		return nil, err
	}
	layers := make([]v1.Layer, len(found.Manifest.Layers))
	for i, d := range found.Manifest.Layers {
		if layers[i], err = l.layer(d, found.Config.RootFS.DiffIDs[i]); err != nil {
			return nil, err
		}
	}
	image, err := manifest.New(found, layers)
	return image, manifest.In("", "", blobPath(found.Digest), err)
}

func (l *layout) layer(d v1.Descriptor, id v1.Hash) (v1.Layer, error) {
	f, err := l.archive.tree.file(blobPath(d.Digest))
	if errors.Is(err, manifest.ErrMissing) && len(d.URLs) > 0 {
		return nil, &Error{
			Part: blobPath(d.Digest), Kind: manifest.ErrForeign,
			Detail: "the archive does not have its contents, which are at " + d.URLs[0],
			Remedy: "pull the image from a registry",
		}
	}
	if err != nil {
		return nil, err
	}
	if err := l.archive.checkSize(d, f.size); err != nil {
		return nil, err
	}
	d.Size = f.size
	return l.archive.layer(f, d, id)
}

// byConfig returns the manifests, by image id, of an archive that is also an OCI layout.
// It leaves out images without a manifest or with missing layers: for these,
// manifest.json decides.
func (l *layout) byConfig() (map[v1.Hash]v1.Descriptor, error) {
	found := map[v1.Hash]v1.Descriptor{}
	if !l.archive.tree.has("index.json") {
		return found, nil
	}
	index, err := l.root()
	if err != nil {
		return nil, err
	}
	return found, l.collect(index.Manifests, found, 0)
}

func (l *layout) collect(all []v1.Descriptor, found map[v1.Hash]v1.Descriptor, depth int) error {
	for _, d := range all {
		if manifest.Attestation(d) || !l.archive.tree.has(blobPath(d.Digest)) {
			continue
		}
		raw, err := l.archive.blob(d)
		if err != nil {
			return err
		}
		index, err := manifest.IsIndex(raw, d.MediaType, nil)
		if err != nil {
			continue // an artifact, such as a signature: manifest.json does not list it
		}
		if !index {
			if m, err := manifest.Parse(raw, nil); err == nil && l.complete(m) {
				found[m.Config.Digest] = d
			}
			continue
		}
		below, err := manifest.ParseIndex(raw, nil)
		if err != nil {
			return manifest.In("", "", blobPath(d.Digest), err)
		}
		if depth < maxDepth {
			if err := l.collect(below.Manifests, found, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *layout) complete(m *v1.Manifest) bool {
	missing := func(layer v1.Descriptor) bool { return !l.archive.tree.has(blobPath(layer.Digest)) }
	return !missing(m.Config) && !slices.ContainsFunc(m.Layers, missing)
}

// namesOf returns the complete names in a group's annotations, without mere tags.
func namesOf(group []v1.Descriptor) []string {
	annotations := group[0].Annotations
	name := annotations[annotationName]
	if name == "" {
		name = annotations[annotationRef]
		if !strings.ContainsAny(name, "/:") {
			return nil
		}
	}
	return []string{name}
}

// merge returns one entry for an image that is listed once for each name.
func merge(entries []Entry, next Entry) []Entry {
	id, err := next.Image.Digest()
	for i := range entries {
		if other, otherErr := entries[i].Image.Digest(); errors.Join(err, otherErr) == nil && other == id {
			for _, name := range next.Names {
				if !slices.Contains(entries[i].Names, name) {
					entries[i].Names = append(entries[i].Names, name)
				}
			}
			return entries
		}
	}
	return append(entries, next)
}
