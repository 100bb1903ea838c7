//go:build systemd

package roundtrip

import (
	"os"
	"slices"
	"testing"

	"thinctl/internal/testkit/imagetest"
)

type sample struct {
	name  string
	image imagetest.Image
}

// everything reports whether all samples are to be tried, which takes an emulated processor
// an hour. Otherwise each way in and out is tried with few.
func everything() bool { return os.Getenv("THINCTL_ROUNDTRIPS") == "all" }

// some are always tried.
func some(all []sample, always ...string) []sample {
	if everything() {
		return all
	}
	return slices.DeleteFunc(all, func(s sample) bool { return !slices.Contains(always, s.name) })
}

// small are the images that go through all programs. Images with few and small files are
// whole; the others have the size that an emulated processor takes through five programs in
// minutes. (Docker starts a process for each layer.)
func small() []sample {
	one, two := imagetest.Seeds(imagetest.SeedOptions{Scale: 16, Compressible: true})
	return []sample{
		{"one", one}, {"two", two}, {"links", imagetest.Links()}, {"special", imagetest.Special()},
		{"deep", imagetest.Deep(12)}, {"crowd", imagetest.Crowd(3000)}, {"sparse", imagetest.Sparse(64<<20, false)},
	}
}

// whole are the images that thinctl gets at their full size.
func whole() []sample {
	return append(small()[:4], sample{"deep", imagetest.Deep(127)}, sample{"crowd", imagetest.Crowd(100_000)},
		sample{"sparse", imagetest.Sparse(4<<30, false)}, sample{"gnu sparse", imagetest.Sparse(4<<30, true)})
}

// the builds one of the small images.
func the(t *testing.T, name string) *imagetest.Built {
	t.Helper()
	for _, s := range small() {
		if s.name == name {
			return build(t, s.image)
		}
	}
	t.Fatalf("no image %q", name)
	return nil
}
