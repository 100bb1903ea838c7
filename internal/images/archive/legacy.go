package archive

import (
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/compression"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
)

// maxLegacyLayers is more than the storage drivers of these versions allowed.
const maxLegacyLayers = 1024

// legacyImage holds the required members of an image's JSON from Docker before 1.10.
type legacyImage struct {
	Parent          string `json:"parent"`
	Created         time.Time
	Author          string
	Comment         string
	ContainerConfig struct{ Cmd []string } `json:"container_config"`
}

// legacy reads an archive from Docker before 1.10. It maps repository and tag to an
// image's id, and has a directory with a json and a layer.tar for each id. Docker 1.10 to
// 24 read it in this way (image/tarexport/load.go, legacyLoad).
func (a *Archive) legacy() ([]Entry, error) {
	raw, err := a.json("repositories")
	if err != nil {
		return nil, err
	}
	var repositories map[string]map[string]string
	if err := json.Unmarshal(raw, &repositories); err != nil {
		return nil, &Error{Part: "repositories", Kind: manifest.ErrFormat, Err: err, Remedy: "save the image again"}
	}
	names := map[string][]string{}
	for _, repository := range slices.Sorted(maps.Keys(repositories)) {
		for _, tag := range slices.Sorted(maps.Keys(repositories[repository])) {
			id := repositories[repository][tag]
			names[id] = append(names[id], repository+":"+tag)
		}
	}
	if len(names) == 0 {
		return nil, &Error{
			Part: "repositories", Kind: manifest.ErrMissing, Detail: "there is no image in it",
			Remedy: "save the image again",
		}
	}
	a.warn.Add("repositories", "the archive is of a Docker before 1.10, without digests of its contents")
	var entries []Entry
	for _, id := range slices.Sorted(maps.Keys(names)) {
		image, err := a.legacyImage(id)
		if err != nil {
			return nil, manifest.In("", "", path.Join(id, "json"), err)
		}
		entries = append(entries, Entry{a.canonical("repositories", names[id]), image})
	}
	return entries, nil
}

// legacyImage returns the image from the layers of id and of its parents.
func (a *Archive) legacyImage(id string) (v1.Image, error) {
	var top []byte
	var layers []v1.Layer
	var history []v1.History
	rootfs := v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}
	for at := id; at != ""; {
		if !reference.IsID(at) {
			return nil, manifest.Errorf(manifest.ErrFormat, "%q is not an image's id", at)
		}
		if len(layers) == maxLegacyLayers {
			return nil, manifest.Errorf(
				manifest.ErrTooLarge, "more than %d layers, or a cycle of parents", maxLegacyLayers,
			)
		}
		raw, err := a.json(path.Join(at, "json"))
		if err != nil {
			return nil, err
		}
		var one legacyImage
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, &Error{Kind: manifest.ErrFormat, Detail: "not an image's JSON", Err: err}
		}
		if top == nil {
			top = raw
		}
		layer, diffID, err := a.legacyLayer(path.Join(at, "layer.tar"))
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
		rootfs.DiffIDs = append(rootfs.DiffIDs, diffID)
		history = append(history, v1.History{
			Author: one.Author, Created: v1.Time{Time: one.Created}, Comment: one.Comment,
			CreatedBy: strings.Join(one.ContainerConfig.Cmd, " "),
		})
		at = one.Parent
	}
	slices.Reverse(layers)
	slices.Reverse(rootfs.DiffIDs)
	slices.Reverse(history)
	config, err := legacyConfig(top, rootfs, history)
	if err != nil {
		return nil, err
	}
	return manifest.Assemble(config, layers)
}

// legacyConfig converts the JSON to a config as Docker does (image/v1/imagev1.go,
// MakeConfigFromV1Config).
func legacyConfig(raw []byte, rootfs v1.RootFS, history []v1.History) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	for _, name := range []string{"id", "parent", "Size", "parent_id", "layer_id", "throwaway"} {
		delete(fields, name)
	}
	fields["rootfs"], fields["history"] = rootfs, history
	return json.Marshal(fields)
}

// legacyLayer reads a layer to compute its diff id, which is not in the archive.
func (a *Archive) legacyLayer(name string) (v1.Layer, v1.Hash, error) {
	f, err := a.tree.file(name)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	blob, err := f.open()
	if err != nil {
		return nil, v1.Hash{}, manifest.In("", "", f.name, err)
	}
	plain, err := manifest.Decompress(blob, compression.Options{}, nil)
	if err != nil {
		return nil, v1.Hash{}, manifest.In("", "", f.name, errors.Join(err, blob.Close()))
	}
	id, _, err := v1.SHA256(plain)
	if err = errors.Join(err, plain.Close()); err != nil {
		return nil, id, manifest.In("", "", f.name, err)
	}
	layer, err := a.dockerLayer(name, id, v1.Descriptor{})
	return layer, id, err
}
