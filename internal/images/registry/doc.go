// Package registry pulls images from registries and pushes images to them.
//
// # Words
//
//   - A registry has manifests and blobs in repositories. A tag is a name for a
//     manifest or index.
//   - A transfer stalls if no data arrives for [Options.Stall], and breaks off if the
//     connection ends early. In both cases it continues at the byte that was reached,
//     by an HTTP Range. If the registry does not support ranges, the blob is read up
//     to that byte again.
//   - A layer is streamed if only its uncompressed tar exists: it is compressed while
//     it is sent, and its digest is known afterwards.
//
// # Caveats
//
// The layers of a pulled image are read under the context given to [Pull].
//
// Without [Options.Insecure], plain HTTP is allowed only for this host, also in redirects.
// A registry may refer the client to a private address only if it has one itself or if
// [Options.Insecure] is set, and never to a link-local address, where clouds serve
// credentials.
//
// Names and passwords come from the config file of Docker or Podman, including credential
// helpers, or from the file in REGISTRY_AUTH_FILE. A file or helper that fails is a
// warning: the registry is used without a login.
//
// The contents of an index or manifest take precedence over its Content-Type. Redirects
// from HTTPS to plain HTTP, which Docker follows, are refused without [Options.Insecure],
// since the transfer could be read by others.
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
//	layers, err := fetched.Layers() // they can be read while they are transferred
package registry
