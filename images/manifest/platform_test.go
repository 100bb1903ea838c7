package manifest_test

import (
	"errors"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/images/manifest"
)

func TestChoose(t *testing.T) {
	for want, c := range map[string]struct {
		have   []string
		chosen int // -1: none
	}{
		"linux/amd64":    {[]string{"linux/arm64", "linux/amd64/v3", "linux/amd64"}, 2},
		"linux/amd64/v3": {[]string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, 1},
		"linux/arm64":    {[]string{"linux/arm/v7", "linux/arm64/v8"}, 1},
		"linux/arm/v7":   {[]string{"linux/arm/v5", "linux/arm/v6", "linux/arm64"}, 1},
		"linux/arm/v6":   {[]string{"linux/arm/v7"}, -1},
		"linux/s390x":    {[]string{"unknown/unknown", "windows/s390x"}, -1},
		"linux/ppc64le":  {nil, -1},
	} {
		var entries []v1.Descriptor
		for i, p := range c.have {
			platform, err := v1.ParsePlatform(p)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, v1.Descriptor{Size: int64(i), Platform: platform})
		}
		platform, err := v1.ParsePlatform(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := manifest.Choose(entries, *platform)
		if c.chosen < 0 {
			if !errors.Is(err, manifest.ErrPlatform) {
				t.Errorf("%s of %v: %v", want, c.have, err)
			}
			continue
		}
		if err != nil || got.Size != int64(c.chosen) {
			t.Errorf("%s of %v: chose %d, %v", want, c.have, got.Size, err)
		}
	}
}
