// Package reference parses and prints the names of images as Docker does.
//
// # Words
//
//   - A repository is a registry's host and a path: docker.io/library/debian. The
//     default host is docker.io, where a path of one part is below library.
//   - A tag or a digest selects one image of a repository. The default tag is latest.
//   - A canonical name has all parts: docker.io/library/debian:12. A familiar name
//     leaves out the defaults: debian:12.
//   - An id is the digest of an image's config: 64 hexadecimal digits. Its first digits
//     are enough if no other id begins with them.
//
// # Caveats
//
// As in Docker, a name takes precedence over the beginning of an id: an image with the
// name "cafe" hides the image whose id begins with cafe. 64 hexadecimal digits are never a
// name.
//
// # Example
//
//	ref, err := reference.Parse("debian")
//	if err != nil {
//		return err
//	}
//	fmt.Println(ref, ref.Familiar()) // docker.io/library/debian:latest debian:latest
package reference
