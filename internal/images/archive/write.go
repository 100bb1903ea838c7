package archive

import (
	"context"
	"encoding/json"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
)

// WriteDocker writes an archive like docker save of Docker 25 and later: a manifest.json,
// which all versions of docker load read, and an OCI layout with the same blobs, which are
// uncompressed.
func WriteDocker(ctx context.Context, w io.Writer, images []Entry, o WriteOptions) error {
	return write(ctx, w, images, o, (*output).docker)
}

// WriteOCI writes an OCI layout with the manifests and blobs of the images as they are.
func WriteOCI(ctx context.Context, w io.Writer, images []Entry, o WriteOptions) error {
	return write(ctx, w, images, o, (*output).oci)
}

func write(
	ctx context.Context, w io.Writer, images []Entry, o WriteOptions, body func(*output, []planned) error,
) error {
	all, err := plan(images)
	if err != nil {
		return manifest.In("save", "images", "", err)
	}
	out, err := newOutput(ctx, w, o)
	if err != nil {
		return manifest.In("save", "images", "", err)
	}
	if err := body(out, all); err != nil {
		return manifest.In("save", "images", "", err)
	}
	return manifest.In("save", "images", "", out.close())
}

func (out *output) docker(all []planned) error {
	var index []v1.Descriptor
	var list []saved
	for i := range all {
		p := &all[i]
		m, entry, err := out.dockerImage(p)
		if err != nil {
			return manifest.In("save", p.called(), "", err)
		}
		index = append(index, named(m, p.names)...)
		list = append(list, entry)
	}
	if err := out.index(index); err != nil {
		return err
	}
	if err := out.json("manifest.json", once(list)); err != nil {
		return err
	}
	if err := out.layoutVersion(); err != nil {
		return err
	}
	return out.json("repositories", repositories(all))
}

func (out *output) dockerImage(p *planned) (v1.Descriptor, saved, error) {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	entry := saved{RepoTags: familiar(p.names), Layers: []string{}}
	for i, layer := range p.layers {
		id := p.config.RootFS.DiffIDs[i]
		size := int64(-1)
		if sized, ok := layer.(Sized); ok {
			var err error
			if size, err = sized.UncompressedSize(); err != nil {
				return v1.Descriptor{}, entry, err
			}
		}
		size, err := out.blob(id, size, layer.Uncompressed)
		if err != nil {
			return v1.Descriptor{}, entry, err
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: id, Size: size})
		entry.Layers = append(entry.Layers, blobPath(id))
	}
	var err error
	if m.Config, err = out.small(types.OCIConfigJSON, p.rawConfig); err != nil {
		return v1.Descriptor{}, entry, err
	}
	entry.Config = blobPath(m.Config.Digest)
	raw, err := json.Marshal(m)
	if err != nil {
		return v1.Descriptor{}, entry, err
	}
	d, err := out.small(types.OCIManifestSchema1, raw)
	return d, entry, err
}

func (out *output) oci(all []planned) error {
	var index []v1.Descriptor
	for i := range all {
		p := &all[i]
		d, err := out.ociImage(p)
		if err != nil {
			return manifest.In("save", p.called(), "", err)
		}
		index = append(index, named(d, p.names)...)
	}
	if err := out.index(index); err != nil {
		return err
	}
	return out.layoutVersion()
}

func (out *output) ociImage(p *planned) (v1.Descriptor, error) {
	for _, layer := range p.layers {
		digest, err := layer.Digest()
		if err != nil {
			return v1.Descriptor{}, err
		}
		size, err := layer.Size()
		if err != nil {
			return v1.Descriptor{}, err
		}
		if _, err := out.blob(digest, size, layer.Compressed); err != nil {
			return v1.Descriptor{}, err
		}
	}
	if _, err := out.small(types.OCIConfigJSON, p.rawConfig); err != nil {
		return v1.Descriptor{}, err
	}
	mediaType, err := p.image.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	raw, err := p.image.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	return out.small(mediaType, raw)
}

func (out *output) index(manifests []v1.Descriptor) error {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: manifests}
	return out.json("index.json", index)
}

// named returns a descriptor of the manifest for each of its image's names.
func named(d v1.Descriptor, names []reference.Reference) []v1.Descriptor {
	if len(names) == 0 {
		return []v1.Descriptor{d}
	}
	var all []v1.Descriptor
	for _, name := range names {
		d.Annotations = map[string]string{annotationName: name.String()}
		if name.Tag() != "" {
			d.Annotations[annotationRef] = name.Tag()
		}
		all = append(all, d)
	}
	return all
}

// once merges the entries of an image that was given several times.
func once(list []saved) []saved {
	var all []saved
	at := map[string]int{}
	for _, entry := range list {
		if i, seen := at[entry.Config]; seen {
			all[i].RepoTags = append(all[i].RepoTags, entry.RepoTags...)
			continue
		}
		at[entry.Config] = len(all)
		all = append(all, entry)
	}
	return all
}

// familiar returns the names for docker load: those with a tag.
func familiar(names []reference.Reference) []string {
	var all []string
	for _, name := range names {
		if name.Digest() == "" {
			all = append(all, name.Familiar())
		}
	}
	return all
}

// repositories returns the contents of that file: the top layer by repository and tag.
func repositories(all []planned) map[string]map[string]string {
	top := map[string]map[string]string{}
	for _, p := range all {
		ids := p.config.RootFS.DiffIDs
		if len(ids) == 0 {
			continue
		}
		for _, name := range p.names {
			if name.Digest() != "" {
				continue
			}
			repository := name.FamiliarRepository()
			if top[repository] == nil {
				top[repository] = map[string]string{}
			}
			top[repository][name.Tag()] = ids[len(ids)-1].Hex
		}
	}
	return top
}
