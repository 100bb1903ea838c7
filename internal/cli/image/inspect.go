package image

import (
	"encoding/json"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"thinctl/internal/cli/command"
	"thinctl/internal/cli/content"
	"thinctl/internal/cli/output"
	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/units"
)

func inspectCommand(env *command.Environment) *cli.Command {
	return env.Command(command.Spec{
		Name: "inspect", Args: "POOL IMAGE...", Usage: "print everything about images as JSON",
		About: "The fields are those of docker inspect; under Thinctl they include the space that the image's layers " +
			"take in the pool.",
		Flags: []cli.Flag{digestFlag()},
		Run:   inspectImages, Complete: (*command.Call).ImageWords,
	})
}

// inspectedImage has the fields of docker inspect in their order.
type inspectedImage struct {
	ID           string `json:"Id"` // "" until it is computed
	RepoTags     []string
	RepoDigests  []string
	Parent       string
	Comment      string
	Created      time.Time `json:",omitzero"`
	Author       string
	Config       json.RawMessage // unchanged
	Architecture string
	Variant      string `json:",omitempty"`
	OS           string `json:"Os"`
	Size         units.Bytes
	VirtualSize  units.Bytes
	RootFS       inspectedRoot
	Thinctl      inspectedPool
}

type inspectedRoot struct {
	Type   string
	Layers []string
}

// inspectedPool takes the place of GraphDriver in docker inspect.
type inspectedPool struct {
	Pool           string
	Key            string
	Loaded         time.Time
	Containers     []string
	ExclusiveBytes *units.Bytes
	Layers         []inspectedLayer // base first
}

type inspectedLayer struct {
	ID          string `json:"Id"`
	Volume      string
	DiffID      string    `json:",omitempty"`
	Created     time.Time `json:",omitzero"`
	SizeBytes   units.Bytes
	OwnBytes    *units.Bytes
	MappedBytes *units.Bytes
}

func inspectImages(c *command.Call) error {
	return c.OnImages(func(store *images.Store) error {
		measured, err := summaries(c, store, true)
		if err != nil {
			return err
		}
		byKey := map[string]measuredImage{}
		for _, v := range measured {
			byKey[v.Key] = v
		}
		views := []inspectedImage{}
		for _, text := range c.Args[1:] {
			image, err := store.Image(c.Ctx, text)
			if err == nil && c.Flags.Bool("digest") {
				image, err = content.Identified(c, store, image)
			}
			if err != nil {
				return err
			}
			view, err := inspect(c, store, image, byKey)
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		return c.Show(struct {
			output.PoolHead
			Images []inspectedImage `json:"images"`
		}{command.HeadOf(store), views}, func(io.Writer) {
			encoder := json.NewEncoder(c.Out)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "    ")
			_ = encoder.Encode(views) // the sink keeps the error
		})
	})
}

func inspect(c *command.Call, store *images.Store, image images.Image,
	byKey map[string]measuredImage) (inspectedImage, error) {
	config, err := image.Config()
	if err != nil {
		return inspectedImage{}, err
	}
	digests, err := store.RepoDigests(c.Ctx, image)
	if err != nil {
		return inspectedImage{}, err
	}
	own, measured := content.NewImageView(image), byKey[image.Key]
	v := inspectedImage{
		ID: own.ID, RepoTags: own.Names, RepoDigests: append([]string{}, digests...), Created: own.Created,
		Author: config.Author, Config: image.RawConfig(),
		Architecture: config.Architecture, Variant: config.Variant, OS: config.OS,
		Size: measured.Size, VirtualSize: measured.Size,
		RootFS: inspectedRoot{Type: "layers", Layers: []string{}},
		Thinctl: inspectedPool{Key: image.Key, Loaded: own.Loaded, ExclusiveBytes: measured.Exclusive,
			Containers: []string{}, Layers: []inspectedLayer{}},
	}
	if parent, there := byKey[image.Parent]; there {
		v.Parent = parent.Full()
	}
	for _, diff := range config.RootFS.DiffIDs {
		v.RootFS.Layers = append(v.RootFS.Layers, diff.String())
	}
	if n := len(config.History); n > 0 {
		v.Comment = config.History[n-1].Comment
	}
	return v, inspectPool(c, store, image, &v.Thinctl)
}

// inspectPool adds the space that an image takes in the pool.
func inspectPool(c *command.Call, store *images.Store, image images.Image, v *inspectedPool) error {
	v.Pool = store.Layers().Pool().Name()
	containers, err := store.Layers().Containers(c.Ctx)
	if err != nil {
		return err
	}
	for _, one := range containers {
		if one.Image == image.Key {
			v.Containers = append(v.Containers, one.Name)
		}
	}
	if len(image.Layers) == 0 {
		return nil
	}
	sizes, err := c.Sizes(store, layers.SizesOptions{Layers: image.Layers})
	if err != nil {
		return err
	}
	for _, id := range image.Layers {
		layer, err := store.Layers().Layer(c.Ctx, id)
		if err != nil {
			return err
		}
		one := inspectedLayer{ID: layer.ID, Volume: layers.LayerVolume(layer.ID), DiffID: layer.DiffID,
			Created: layer.Created.UTC(), SizeBytes: layer.Size}
		if size, known := sizes.Layers[layer.ID]; known {
			one.OwnBytes, one.MappedBytes = &size.Own, &size.Mapped
		}
		v.Layers = append(v.Layers, one)
	}
	return nil
}
