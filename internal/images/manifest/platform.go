package manifest

import (
	"cmp"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// HostPlatform returns Linux with the architecture of this program.
func HostPlatform() v1.Platform {
	return v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

// Attestation reports whether an index's entry is not an image but describes one, such as
// buildkit's provenance, a bill of materials or a signature.
func Attestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" ||
		d.ArtifactType != "" && !types.MediaType(d.ArtifactType).IsConfig()
}

// nameless reports whether a platform is missing or empty.
func nameless(p *v1.Platform) bool { return p == nil || p.OS == "" && p.Architecture == "" }

func spec(p v1.Platform) specs.Platform {
	return specs.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}

// matcher compares platforms as Docker and containerd do: an image for an older
// variant of the processor matches too. A zero platform is the host's.
func matcher(want v1.Platform) platforms.MatchComparer {
	return platforms.Only(spec(orHost(want)))
}

func orHost(want v1.Platform) v1.Platform {
	if want.OS == "" {
		return HostPlatform()
	}
	return want
}

// fitting returns the entries with a suitable platform, the best first.
func fitting(entries []v1.Descriptor, want v1.Platform) []v1.Descriptor {
	match := matcher(want)
	var fit []v1.Descriptor
	for _, d := range entries {
		if !nameless(d.Platform) && match.Match(spec(*d.Platform)) {
			fit = append(fit, d)
		}
	}
	slices.SortStableFunc(fit, func(a, b v1.Descriptor) int {
		switch {
		case match.Less(spec(*a.Platform), spec(*b.Platform)):
			return -1
		case match.Less(spec(*b.Platform), spec(*a.Platform)):
			return 1
		}
		return 0
	})
	return fit
}

// otherVariant reports whether a platform differs from the wanted one only in the variant
// of the processor.
func otherVariant(have *v1.Platform, want v1.Platform) bool {
	return !nameless(have) && platformOf(*have) == platformOf(orHost(want))
}

// notAmong returns the error for an index without an image for the platform.
func notAmong(have []*v1.Platform, want v1.Platform) error {
	var names []string
	for _, p := range have {
		if p != nil {
			names = append(names, cmp.Or(p.String(), "one that names none"))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	list := strings.Join(names[:min(len(names), 20)], ", ")
	switch {
	case len(names) == 0:
		list = "any, as there are no images"
	case len(names) > 20:
		list += ", ..."
	}
	return &Error{
		Kind:   ErrPlatform,
		Detail: orHost(want).String() + " is not among " + list,
		Remedy: "choose one of these with --platform, or use another image",
	}
}

// platformOf returns the normalized operating system and processor.
func platformOf(p v1.Platform) string {
	n := platforms.Normalize(spec(p))
	return n.OS + "/" + n.Architecture
}
