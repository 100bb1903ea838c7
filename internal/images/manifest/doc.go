// Package manifest is what archives and registries have in common: it reads
// indexes, image manifests and configs, refuses what cannot be an image of ours,
// and gives image and layers as go-containerregistry's v1.Image and v1.Layer.
// Input that Docker, containerd or skopeo accept is accepted, with a warning if
// it is unusual.
//
// # Words
//
//   - A manifest names an image's config and its layers by their digests.
//   - An index (Docker: manifest list) names manifests, one for each platform.
//   - A blob is a config or layer as it is stored; a layer's digest is that of
//     its blob, its diff id that of the uncompressed tar inside.
//   - A foreign layer's contents may only be had from where the manifest says,
//     by licence: Windows' base layers are.
//
// # Caveats
//
// [Layer.Compressed] and [Layer.Uncompressed] check what they give while it is
// read: the last Read returns the error in io.EOF's place, so what was read must
// not count before io.EOF was seen. [Layer.Raw] checks nothing and is for those
// who compute the diff id themselves, as applying a layer does.
//
// Media types are often missing or wrong. The text of a manifest, index or
// config decides what it is; [Finder] reads it from a [Source].
//
// A config is kept byte for byte. [ParseConfig] reads as much of it as is used;
// a [Document] changes some of its members and leaves the others as they are.
//
// # Example
//
//	finder := manifest.Finder{Source: archive, Platform: platform, Warn: warn}
//	found, err := finder.Choose(index.Manifests)
//	if errors.Is(err, manifest.ErrPlatform) {
//		...
//	}
//	image, err := manifest.New(found, layers)
package manifest
