// Package registry pulls images from registries and pushes them there.
//
// # Words
//
//   - A registry keeps manifests and blobs in repositories; a tag is a name for
//     a manifest or index there.
//   - A transfer stalls when nothing comes for [Options.Stall], and breaks off
//     when the connection ends early. Either way it goes on from the byte that
//     was reached, by an HTTP Range, or where the registry knows none by reading
//     up to there once more.
//   - A layer is streamed when it exists here as an uncompressed tar only: it is
//     compressed while it is sent, and its digest is known afterwards.
//
// # Caveats
//
// The layers of a pulled image are read under the context given to [Pull].
//
// Plain HTTP is for this host alone, unless [Options.Insecure]; this holds for
// redirects too.
//
// Names and passwords come from Docker's config file, its credential helpers
// included, or from the file that REGISTRY_AUTH_FILE names.
//
// # Example
//
//	image, err := registry.Pull(ctx, ref, registry.Options{})
//	if err != nil {
//		return err
//	}
//	fetched, err := registry.Fetch(ctx, image, registry.FetchOptions{})
//	if err != nil {
//		return err
//	}
//	defer fetched.Close()
//	layers, err := fetched.Layers() // readable while they are still coming
package registry
