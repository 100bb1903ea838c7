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
// redirects too. A registry may refer the client to a private address only if it
// has one itself or if [Options.Insecure] is set, and never to a link-local one,
// where clouds serve credentials.
//
// Names and passwords come from Docker's config file or Podman's, its credential
// helpers included, or from the file that REGISTRY_AUTH_FILE names. A file or a
// helper that fails is a warning: the registry is asked without a login.
//
// An index or manifest with another Content-Type than its own text says is read
// by its text. Redirects from HTTPS to plain HTTP, which Docker follows, are
// refused without [Options.Insecure]: others could read what is transferred.
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
