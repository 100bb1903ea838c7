// Package imagestest prepares images for tests that load them into a pool, and compares
// the pool's layers with them.
//
// It reads the images with the packages below thinctl/internal/images. The images come
// from [thinctl/internal/testkit/imagetest], which imports no package under test.
package imagestest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/archive"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagetest"
)

// Prepared is an image that can be loaded any number of times.
type Prepared struct {
	*imagetest.Built
	Image v1.Image
	// Trees are the expected trees of the layers, up to the first layer that cannot be
	// applied.
	Trees []imagetest.Tree
}

// Prepare builds an image and reads it back from an archive of Docker's form. The
// archive's contents stay in a file without a name until the process ends.
func Prepare(ctx context.Context, image imagetest.Image) (*Prepared, error) {
	built, err := imagetest.Build(image)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Built: built}
	for n := range image.Layers {
		tree, err := imagetest.Image{Layers: image.Layers[:n+1]}.Tree()
		if err != nil {
			break
		}
		p.Trees = append(p.Trees, tree)
	}
	var saved bytes.Buffer
	if err := imagetest.WriteDocker(&saved, built); err != nil {
		return nil, err
	}
	file, err := archive.Read(ctx, &saved, archive.Options{})
	if err != nil {
		return nil, err
	}
	p.Image = file.Images()[0].Image
	return p, nil
}

// DiffIDs returns the digests of an image's uncompressed layers, as it returns them.
func DiffIDs(image v1.Image) ([]string, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, layer := range layers {
		r, err := layer.Uncompressed()
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		ids = append(ids, "sha256:"+hex.EncodeToString(sum.Sum(nil)))
	}
	return ids, nil
}

// ReadTree returns the tree of a layer.
func ReadTree(ctx context.Context, layers *layers.Store, id string) (imagetest.Tree, error) {
	view, err := layers.ViewLayer(ctx, id)
	if err != nil {
		return nil, err
	}
	tree, err := imagetest.ReadTree(ctx, view.Root)
	return tree, errors.Join(err, view.Close())
}

// CheckSplits checks the files in a directory of splits. A name with the value true must
// exist. Other names that are not in wanted must not exist.
func CheckSplits(dir string, wanted map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	there := map[string]bool{}
	var faults []error
	for _, entry := range entries {
		there[entry.Name()] = true
		if !wanted[entry.Name()] {
			faults = append(faults, fmt.Errorf("%s is left", entry.Name()))
		}
	}
	for name, must := range wanted {
		if must && !there[name] {
			faults = append(faults, fmt.Errorf("%s is missing", name))
		}
	}
	return errors.Join(faults...)
}

// CheckHidden reports the entries of a directory whose names begin with a dot:
// files and mount points of unfinished work.
func CheckHidden(dir string) error {
	entries, err := os.ReadDir(dir)
	faults := []error{err}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			faults = append(faults, fmt.Errorf("%s is left in %s", entry.Name(), dir))
		}
	}
	return errors.Join(faults...)
}
