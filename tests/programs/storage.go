package programs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"thinctl/internal/testkit/imagetest"
)

// Storage is a store of containers/storage, which skopeo and podman share, with the
// driver overlay.
type Storage struct {
	dir string
}

// NewStorage returns a store below a directory. Nothing is made before an image is copied
// to it.
func NewStorage(dir string) Storage { return Storage{filepath.Join(dir, "storage")} }

// Place returns skopeo's name of an image in the store.
func (s Storage) Place(image string) string {
	return fmt.Sprintf("containers-storage:[overlay@%s+%s-run]%s", s.dir, s.dir, image)
}

// Tree returns the tree of an image, read from the driver's directories without skopeo.
func (s Storage) Tree(ctx context.Context, image string) (imagetest.Tree, error) {
	var images []struct {
		Names []string `json:"names"`
		Layer string   `json:"layer"`
	}
	var layers []struct{ ID, Parent string }
	if err := readJSON(filepath.Join(s.dir, "overlay-images/images.json"), &images); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(s.dir, "overlay-layers/layers.json"), &layers); err != nil {
		return nil, err
	}
	for _, i := range images {
		if !slices.Contains(i.Names, image) {
			continue
		}
		var dirs []string
		parents := map[string]string{}
		for _, l := range layers {
			parents[l.ID] = l.Parent
		}
		for id := i.Layer; id != ""; id = parents[id] {
			short, err := os.ReadFile(filepath.Join(s.dir, "overlay", id, "link"))
			if err != nil {
				return nil, err
			}
			dirs = append(dirs, "l/"+string(short))
		}
		if len(dirs) == 0 {
			return imagetest.Tree{}, nil
		}
		return overlaid(ctx, filepath.Join(s.dir, "overlay"), dirs)
	}
	return nil, fmt.Errorf("%s has no image %s", s.dir, image)
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
