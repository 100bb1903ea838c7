package manifest

import (
	"errors"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
)

const (
	// maxDepth bounds the nesting of indexes. An index in an index is usual.
	maxDepth = 4
	// maxRead bounds the manifests and indexes that are read to find images' platforms that
	// are missing in indexes.
	maxRead = 200
)

// Source reads manifests, indexes and configs from an archive or registry, and verifies
// their digests and sizes.
type Source interface {
	// Manifest returns a manifest or index.
	Manifest(d v1.Descriptor) (Read, error)
	// Config returns an image's config.
	Config(d v1.Descriptor) ([]byte, error)
	// Part returns the name of a blob in errors and warnings.
	Part(d v1.Descriptor) string
}

// Read is a manifest or index that was read.
type Read struct {
	v1.Descriptor // its media type may be missing or wrong
	Raw           []byte
}

// Found is an image's manifest and config.
type Found struct {
	Read
	Manifest  *v1.Manifest
	RawConfig []byte
	Config    *v1.ConfigFile
}

// Finder finds images in indexes.
type Finder struct {
	Source   Source
	Platform v1.Platform // zero for the host's
	Warn     fault.Warn
}

// Image returns the image of a manifest, for any platform, or the image of an index that
// suits the platform best.
func (f Finder) Image(read Read) (*Found, error) {
	s := &finding{Finder: f}
	found, err := s.image(read, 0)
	if err != nil {
		return nil, err
	}
	return s.warned(found), nil
}

// Choose returns the image among entries that suits the platform best.
func (f Finder) Choose(entries []v1.Descriptor) (*Found, error) {
	s := &finding{Finder: f}
	found, err := s.choose(entries, 0)
	if err != nil {
		return nil, err
	}
	return s.warned(found), nil
}

// finding is the state of one search.
type finding struct {
	Finder
	read int
}

// image returns the image of a manifest or index that was read.
func (f *finding) image(read Read, depth int) (*Found, error) {
	part := f.Source.Part(read.Descriptor)
	warn := f.Warn.In("", part)
	index, err := IsIndex(read.Raw, read.MediaType, warn)
	if err != nil {
		return nil, In("", "", part, err)
	}
	if !index {
		found, err := f.manifest(read, warn)
		return found, In("", "", part, err)
	}
	if depth == maxDepth {
		return nil, In("", "", part, Errorf(ErrFormat, "indexes are nested more than %d deep", maxDepth))
	}
	parsed, err := ParseIndex(read.Raw, warn)
	if err != nil {
		return nil, In("", "", part, err)
	}
	found, err := f.choose(parsed.Manifests, depth+1)
	return found, In("", "", part, err)
}

// manifest reads an image's manifest and config.
func (f *finding) manifest(read Read, warn fault.Warn) (*Found, error) {
	m, err := Parse(read.Raw, warn)
	if err != nil {
		return nil, err
	}
	part := f.Source.Part(m.Config)
	if m.Config.Size > JSONLimit {
		e := Errorf(ErrTooLarge, "a config of %d bytes, at most %d are allowed", m.Config.Size, JSONLimit)
		return nil, In("", "", part, e)
	}
	raw, err := f.Source.Config(m.Config)
	if err != nil {
		return nil, In("", "", part, err)
	}
	config, err := ParseConfig(raw, warn)
	if err != nil {
		if !m.Config.MediaType.IsConfig() && errors.Is(err, ErrFormat) {
			err = artifact(string(m.Config.MediaType))
		}
		return nil, In("", "", part, err)
	}
	if err := CheckConfig(m.Config, len(m.Layers), config, warn); err != nil {
		return nil, err
	}
	return &Found{Read: read, Manifest: m, RawConfig: raw, Config: config}, nil
}

// choose returns the best image of an index. The platforms that the index names
// decide. If none of them suits, the configs of the entries without a platform do,
// and at last the first entry for another variant of the processor, as in Docker
// (moby, daemon/internal/distribution/pull_v2_unix.go, filterManifests).
func (f *finding) choose(entries []v1.Descriptor, depth int) (*Found, error) {
	var platforms []*v1.Platform
	var without []v1.Descriptor
	var images []v1.Descriptor
	for _, d := range entries {
		switch {
		case Attestation(d):
			continue
		case nameless(d.Platform):
			without = append(without, d)
		default:
			platforms = append(platforms, d.Platform)
		}
		images = append(images, d)
	}
	if fit := fitting(images, f.Platform); len(fit) > 0 {
		return f.entry(fit[0], depth)
	}
	best, alone, err := f.platformless(without, depth, &platforms)
	switch {
	case err != nil:
		return nil, err
	case best != nil:
		return best, nil
	}
	other := func(d v1.Descriptor) bool { return otherVariant(d.Platform, f.Platform) }
	if at := slices.IndexFunc(images, other); at >= 0 {
		have, want := images[at].Platform, orHost(f.Platform)
		f.Warn.Add(f.Source.Part(images[at]), "the image is for %s, not for %s", have.String(), want.String())
		return f.entry(images[at], depth)
	}
	if alone != nil && len(images) == 1 {
		return alone, nil // a single image is accepted for any platform, as in Docker
	}
	return nil, notAmong(platforms, f.Platform)
}

// platformless reads the entries without a platform. It returns the image that suits best,
// or nil, and the last one that does not suit.
func (f *finding) platformless(
	entries []v1.Descriptor, depth int, platforms *[]*v1.Platform,
) (best, other *Found, err error) {
	match := matcher(f.Platform)
	for _, d := range entries {
		found, err := f.entry(d, depth)
		if err != nil {
			if !skippable(err) || len(entries) == 1 && len(*platforms) == 0 {
				return nil, nil, err
			}
			f.Warn.Add(f.Source.Part(d), "left out: %v", err)
			continue
		}
		have := v1.Platform{OS: found.Config.OS, Architecture: found.Config.Architecture, Variant: found.Config.Variant}
		switch {
		case nameless(&have), !match.Match(spec(have)):
			*platforms = append(*platforms, &have)
			other = found
		case best == nil, match.Less(spec(have), spec(*best.Config.Platform())):
			best = found
		}
	}
	return best, other, nil
}

// skippable reports whether the search can continue with the index's other entries.
func skippable(err error) bool {
	return errors.Is(err, ErrPlatform) || errors.Is(err, ErrMediaType) ||
		errors.Is(err, ErrMissing) || errors.Is(err, ErrFormat)
}

func (f *finding) entry(d v1.Descriptor, depth int) (*Found, error) {
	if f.read++; f.read > maxRead {
		err := Errorf(ErrTooLarge, "more than %d manifests and indexes have no platform", maxRead)
		err.Remedy = "use the image's own digest: NAME@sha256:..."
		return nil, err
	}
	read, err := f.Source.Manifest(d)
	if err != nil {
		return nil, In("", "", f.Source.Part(d), err)
	}
	return f.image(read, depth)
}

// warned adds a warning for an image for another platform.
func (f *finding) warned(found *Found) *Found {
	have := v1.Platform{OS: found.Config.OS, Architecture: found.Config.Architecture, Variant: found.Config.Variant}
	want := orHost(f.Platform)
	switch {
	case nameless(&have):
		f.Warn.Add("", "the image has no platform")
	case platformOf(have) != platformOf(want):
		f.Warn.Add("", "the image is for %s, not for %s", have.String(), want.String())
	}
	return found
}
