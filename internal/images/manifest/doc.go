// Package manifest reads indexes, image manifests and configs for packages archive and
// registry. It rejects input that cannot be a Linux image, and returns images and layers
// as go-containerregistry's v1.Image and v1.Layer. It accepts input that Docker,
// containerd or skopeo accept, with a warning if it is unusual.
//
// # Words
//
//   - A manifest names an image's config and its layers by their digests.
//   - An index (Docker: manifest list) names manifests, one for each platform.
//   - A blob is a config or layer as it is stored. A layer's digest is the digest of
//     its blob; its diff id is the digest of the uncompressed tar.
//   - A foreign layer may be distributed only from the URLs in the manifest, by its
//     licence: the base layers of Windows are foreign.
//
// # Caveats
//
// [Layer.Compressed] and [Layer.Uncompressed] verify data while it is read: the last Read
// returns an error instead of io.EOF. Callers must not use the data before io.EOF.
// [OpenStored] is for callers that compute the diff id themselves.
//
// Media types are often missing or wrong. The contents of a manifest, index or config
// decide its type; [Finder] reads them from a [Source].
//
// A config is kept byte for byte. [ParseConfig] reads the fields that thinctl uses; a
// [Document] changes some of its members and leaves the others as they are.
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
