package archive

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/images/manifest"
)

// maxDepth is how deep indexes may be nested. One in another is usual.
const maxDepth = 4

// Where OCI layouts keep an image's name.
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
		d, err := l.choose(group, 0)
		if err != nil {
			return nil, manifest.In("", "", "index.json", err)
		}
		image, err := l.image(d)
		if err != nil {
			return nil, err
		}
		entries = merge(entries, Entry{l.archive.canonical("index.json", namesOf(group)), image})
	}
	if len(entries) == 0 {
		return nil, &Error{Part: "index.json", Kind: manifest.ErrMissing, Detail: "it lists no image", Remedy: "copy the image again"}
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
			l.archive.warn.Add("oci-layout", "version %q of the OCI layout is not known; it is read as 1.0.0", version.Version)
		}
	}
	raw, err := l.archive.json("index.json")
	if err != nil {
		return nil, err
	}
	index, err := manifest.ParseIndex(raw)
	return index, manifest.In("", "", "index.json", err)
}

// grouped puts together what is one image for several platforms although it
// stands in index.json itself: entries with a platform and the same name. All
// else is an image each.
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

// choose goes down to an image's manifest. One image that is alone is taken
// whatever its platform is.
func (l *layout) choose(group []v1.Descriptor, depth int) (v1.Descriptor, error) {
	d := group[0]
	if len(group) > 1 || depth > 0 {
		var err error
		if d, err = manifest.Choose(group, l.platform); err != nil {
			return d, err
		}
	}
	if !d.MediaType.IsIndex() {
		return d, nil
	}
	if depth == maxDepth {
		return d, manifest.Errorf(manifest.ErrFormat, "indexes are nested more than %d deep", maxDepth)
	}
	below, err := l.nested(d)
	if err != nil {
		return d, err
	}
	return l.choose(below, depth+1)
}

// nested are the entries of an index below; those without a platform get that
// of their config.
func (l *layout) nested(d v1.Descriptor) ([]v1.Descriptor, error) {
	raw, err := l.archive.blob(d)
	if err != nil {
		return nil, err
	}
	index, err := manifest.ParseIndex(raw)
	if err != nil {
		return nil, manifest.In("", "", blobPath(d.Digest), err)
	}
	if len(index.Manifests) == 0 {
		return nil, &Error{Part: blobPath(d.Digest), Kind: manifest.ErrMissing, Detail: "an index that lists no image"}
	}
	for i := range index.Manifests {
		entry := &index.Manifests[i]
		if entry.Platform == nil && !manifest.Attestation(*entry) {
			entry.Platform = l.platformOf(*entry)
		}
	}
	return index.Manifests, nil
}

func (l *layout) platformOf(d v1.Descriptor) *v1.Platform {
	if d.MediaType.IsIndex() {
		own := l.platform
		if own.OS == "" {
			own = manifest.HostPlatform()
		}
		return &own
	}
	raw, err := l.archive.blob(d)
	if err != nil {
		return nil
	}
	m, err := manifest.Parse(raw)
	if err != nil {
		return nil
	}
	if raw, err = l.archive.blob(m.Config); err != nil {
		return nil
	}
	config, err := manifest.ParseConfig(raw)
	if err != nil {
		return nil
	}
	return config.Platform()
}

// image is the image of one manifest, whose layers are all there.
func (l *layout) image(d v1.Descriptor) (v1.Image, error) {
	part := blobPath(d.Digest)
	if !d.MediaType.IsImage() {
		return nil, manifest.In("", "", part, manifest.Errorf(manifest.ErrMediaType, "%q is not an image manifest", d.MediaType))
	}
	raw, err := l.archive.blob(d)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(raw)
	if err != nil {
		return nil, manifest.In("", "", part, err)
	}
	rawConfig, err := l.archive.blob(m.Config)
	if err != nil {
		return nil, err
	}
	config, err := manifest.ParseConfig(rawConfig)
	if err != nil {
		return nil, manifest.In("", "", blobPath(m.Config.Digest), err)
	}
	if err := manifest.CheckCount(len(m.Layers), config); err != nil {
		return nil, manifest.In("", "", part, err)
	}
	layers := make([]v1.Layer, len(m.Layers))
	for i, layer := range m.Layers {
		if layers[i], err = l.layer(layer, config.RootFS.DiffIDs[i]); err != nil {
			return nil, err
		}
	}
	image, err := manifest.New(raw, rawConfig, layers)
	return image, manifest.In("", "", part, err)
}

func (l *layout) layer(d v1.Descriptor, id v1.Hash) (v1.Layer, error) {
	f, err := l.archive.tree.file(blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if f.size != d.Size {
		e := manifest.Errorf(manifest.ErrSize, "it has %d bytes, %d were promised", f.size, d.Size)
		e.Remedy = "save or copy the image again"
		return nil, manifest.In("", "", f.name, e)
	}
	return l.archive.layer(f, d, id)
}

// byConfig is, of an archive that is an OCI layout too, the manifests by the
// ids of their images. What has no manifest in the archive, or not all of its
// layers, is left out: manifest.json counts.
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
		switch {
		case d.MediaType.IsIndex() && depth < maxDepth:
			index, err := manifest.ParseIndex(raw)
			if err != nil {
				return manifest.In("", "", blobPath(d.Digest), err)
			}
			if err := l.collect(index.Manifests, found, depth+1); err != nil {
				return err
			}
		case d.MediaType.IsImage():
			// What is no container image, such as a signature, is nothing that
			// manifest.json would list.
			if m, err := manifest.Parse(raw); err == nil && l.complete(m) {
				found[m.Config.Digest] = d
			}
		}
	}
	return nil
}

func (l *layout) complete(m *v1.Manifest) bool {
	missing := func(layer v1.Descriptor) bool { return !l.archive.tree.has(blobPath(layer.Digest)) }
	return !missing(m.Config) && !slices.ContainsFunc(m.Layers, missing)
}

// namesOf returns the whole names in a group's annotations. A tag alone is none.
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

// merge makes one entry of an image that is listed once for each name.
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
