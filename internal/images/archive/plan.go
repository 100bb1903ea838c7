package archive

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
)

// planned is an image whose parts were checked against each other.
type planned struct {
	image     v1.Image
	names     []reference.Reference
	rawConfig []byte
	config    *v1.ConfigFile
	layers    []v1.Layer
}

// plan checks all images. The caller writes nothing before.
func plan(images []Entry) ([]planned, error) {
	if len(images) == 0 {
		return nil, manifest.Errorf(fault.Invalid, "no images were given")
	}
	var all []planned
	owner := map[string]int{}
	for i, entry := range images {
		p := planned{image: entry.Image}
		for _, name := range entry.Names {
			ref, err := reference.Parse(name)
			if err != nil {
				return nil, err
			}
			if other, taken := owner[ref.String()]; taken && other != i {
				return nil, manifest.Errorf(fault.Invalid, "two images have the name %s", ref.Familiar())
			}
			owner[ref.String()] = i
			p.names = append(p.names, ref)
		}
		if err := p.read(); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (p *planned) read() (err error) {
	if p.rawConfig, err = p.image.RawConfigFile(); err != nil {
		return err
	}
	if p.config, err = manifest.ParseConfig(p.rawConfig, nil); err != nil {
		return err
	}
	if p.layers, err = p.image.Layers(); err != nil {
		return err
	}
	if err := manifest.CheckCount(len(p.layers), p.config); err != nil {
		return err
	}
	for i, layer := range p.layers {
		id, err := layer.DiffID()
		if err != nil {
			return err
		}
		if id != p.config.RootFS.DiffIDs[i] {
			return manifest.Errorf(
				manifest.ErrDigest, "layer %d is %s, the config says %s", i+1, id, p.config.RootFS.DiffIDs[i],
			)
		}
	}
	return nil
}

// called returns the image's name for errors.
func (p *planned) called() string {
	if len(p.names) > 0 {
		return p.names[0].Familiar()
	}
	return fmt.Sprintf("%.19s", manifest.Digest(p.rawConfig))
}
