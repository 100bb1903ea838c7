// Package reference reads the names of images as Docker does, and prints them
// as Docker does.
//
// # Words
//
//   - A repository is a registry's host and a path: docker.io/library/debian.
//     Where no host is given it is docker.io, and there a path of one part is
//     below library.
//   - A tag or a digest picks one image of a repository. Where neither is given
//     the tag is latest.
//   - A name is canonical when it says all of that, docker.io/library/debian:12,
//     and familiar when it leaves out what goes without saying: debian:12.
//   - An id is the digest of an image's config: 64 hexadecimal digits, any first
//     digits of which stand for it as long as no other image begins with them.
//
// # Caveats
//
// A name that could be either is a name first and an id second, as in Docker:
// an image called "cafe" hides the one whose id begins with cafe. 64 hexadecimal
// digits are never a name.
//
// # Example
//
//	ref, err := reference.Parse("debian")
//	if err != nil {
//		return err
//	}
//	fmt.Println(ref, ref.Familiar()) // docker.io/library/debian:latest debian:latest
package reference
