package manifest

import (
	"cmp"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// HostPlatform is linux and the architecture that this program was built for.
func HostPlatform() v1.Platform {
	return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// Attestation tells of an index's entry that it says something about an image
// instead of being one: buildkit's provenance and bills of materials.
func Attestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}

// Choose picks the entry of an index that suits the platform best: the same
// variant, else the highest that is below it. A zero platform is the host's.
func Choose(entries []v1.Descriptor, want v1.Platform) (v1.Descriptor, error) {
	if want.OS == "" {
		want = HostPlatform()
	}
	best, bestRank := v1.Descriptor{}, -1
	for _, d := range entries {
		if Attestation(d) || d.Platform == nil {
			continue
		}
		if rank := rank(*d.Platform, want); rank > bestRank {
			best, bestRank = d, rank
		}
	}
	if bestRank < 0 {
		return v1.Descriptor{}, &Error{
			Kind:   ErrPlatform,
			Detail: want.String() + " is not among " + platforms(entries),
			Remedy: "name one of these with --platform, or use an image built for it",
		}
	}
	return best, nil
}

// rank is how well a platform suits: -1 not at all, else the higher the better.
func rank(have, want v1.Platform) int {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return -1
	}
	h, w := variant(have), variant(want)
	switch {
	case h == w:
		return 1000
	case h < w:
		return h
	}
	return -1
}

// variant is the number of a variant: 7 of v7, and of none what is meant by it.
func variant(p v1.Platform) int {
	switch {
	case p.Variant == "" && p.Architecture == "arm64":
		return 8
	case p.Variant == "" && p.Architecture == "arm":
		return 7
	case p.Variant == "" && p.Architecture == "amd64":
		return 1
	}
	n := 0
	for _, digit := range strings.TrimPrefix(p.Variant, "v") {
		if digit < '0' || digit > '9' || n > 99 {
			return 0
		}
		n = n*10 + int(digit-'0')
	}
	return n
}

func platforms(entries []v1.Descriptor) string {
	var names []string
	for _, d := range entries {
		switch {
		case Attestation(d):
		case d.Platform == nil:
			names = append(names, "one that names none")
		default:
			names = append(names, cmp.Or(d.Platform.String(), "one that names none"))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case len(names) == 0:
		return "any, as there are no images"
	case len(names) > 20:
		names = append(names[:20], "...")
	}
	return strings.Join(names, ", ")
}
