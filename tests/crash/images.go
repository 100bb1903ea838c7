package crash

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"thinctl/internal/images"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/imagestest"
	"thinctl/internal/testkit/imagetest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Images returns the images of the tests, which are always the same: the first two
// share their base, the third has one layer. The largest layer has so many bytes.
func Images(ctx context.Context, bytes int64) ([]*imagestest.Prepared, error) {
	base := imagetest.Plain("base", bytes, 1).Layers[0]
	gone := imagetest.Layer{CreatedBy: "RUN rm", Entries: []imagetest.Entry{
		{Path: "srv", Type: tar.TypeDir, Mode: 0o755, Time: base.Entries[0].Time},
		{Path: "srv/.wh.d000", Type: tar.TypeReg, Time: base.Entries[0].Time}}}
	more := func(name string, size int64, seed uint64) imagetest.Layer {
		return imagetest.Plain(name, size, seed).Layers[0]
	}
	var all []*imagestest.Prepared
	for _, image := range []imagetest.Image{
		{Names: []string{"one:1"}, Layers: []imagetest.Layer{base, more("more", bytes/3, 2), gone}},
		{Names: []string{"two:1"}, Layers: []imagetest.Layer{base, more("other", bytes/2, 3)}},
		{Names: []string{"three:1"}, Layers: []imagetest.Layer{more("third", bytes/2, 4)}},
	} {
		one, err := imagestest.Prepare(ctx, image)
		if err != nil {
			return nil, err
		}
		if len(one.Trees) != len(image.Layers) {
			return nil, fmt.Errorf("%s: got %d trees of %d layers", image.Names, len(one.Trees), len(image.Layers))
		}
		all = append(all, one)
	}
	return all, nil
}

// OpenImages opens the images of a pool, with the host's own file systems or with those in
// memory.
func OpenImages(ctx context.Context, host thinpool.Host, files snapshots.Files, root, pool string,
	fs filesystem.Type) (*images.Store, error) {
	p, err := thinpool.Open(ctx, host, root, pool)
	if err != nil {
		return nil, err
	}
	return images.New(layers.New(p, files, layers.Options{FS: fs}), images.Options{}), nil
}

// Inventory is what a pool's images are compared with.
type Inventory struct {
	Images []*imagestest.Prepared
	// Committed are digests of trees that containers had when they were committed.
	// Each committed layer must have one of them, the acknowledged ones their own.
	Committed []string
}

// Whole reports images and layers that are not whole, splits that are left or
// missing, and documents, volumes and mounts that do not agree. It returns the
// digests of the trees that it read, by layer. It need not read the trees of
// layers below an image's top.
func (i Inventory) Whole(ctx context.Context, s *images.Store) (trees map[string]string, err error) {
	trees = map[string]string{}
	layers, err := s.Layers().Layers(ctx)
	if err != nil {
		return trees, err
	}
	all, err := s.Images(ctx)
	if err != nil {
		return trees, err
	}
	// The bytes of layers below an image's top are read with the image.
	below := map[string]bool{}
	for _, image := range all {
		for _, id := range image.Layers[:len(image.Layers)-1] {
			below[id] = below[id] || image.ID != ""
		}
	}
	var faults []error
	splits := map[string]bool{}
	for _, layer := range layers {
		if layer.Base == "" {
			splits[layer.ID+".split.gz"] = true
		}
		if below[layer.ID] {
			continue
		}
		tree, err := imagestest.ReadTree(ctx, s.Layers(), layer.ID)
		if err == nil {
			trees[layer.ID] = tree.Digest()
			err = i.wholeLayer(layer, tree)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("layer %.12s: %w", layer.ID, err))
		}
	}
	faults = append(faults, imagestest.CheckSplits(s.Layers().Pool().LayersDir(), splits))
	for _, image := range all {
		if err := i.wholeImage(ctx, s, image); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", image, err))
		}
	}
	return trees, errors.Join(errors.Join(faults...), agree(ctx, s))
}

func (i Inventory) wholeLayer(layer layers.Layer, tree imagetest.Tree) error {
	if layer.Base != "" {
		if !slices.Contains(i.Committed, tree.Digest()) {
			return errors.New("no container had its tree")
		}
		return nil
	}
	for _, image := range i.Images {
		if at := slices.Index(image.ChainIDs, layer.ID); at >= 0 {
			if differences := image.Trees[at].Diff(tree, 5); len(differences) > 0 {
				return errors.New(strings.Join(differences, "\n"))
			}
			return nil
		}
	}
	return errors.New("no image of the test has it")
}

// wholeImage reads an image as it is saved.
func (i Inventory) wholeImage(ctx context.Context, s *images.Store, image images.Image) (err error) {
	at := slices.IndexFunc(i.Images, func(one *imagestest.Prepared) bool { return one.ID == image.ID })
	if at < 0 {
		if image.Parent == "" {
			return errors.New("the test has not loaded it")
		}
		return nil // its layers are checked
	}
	opened, err := s.Open(ctx, image.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	raw, err := opened.Image.RawConfigFile()
	if err == nil && !bytes.Equal(raw, i.Images[at].JSON) {
		err = errors.New("its config is not the one that was loaded")
	}
	digests, fault := imagestest.DiffIDs(opened.Image)
	if err := errors.Join(err, fault); err != nil {
		return err
	}
	if !slices.Equal(digests, i.Images[at].DiffIDs()) {
		err = fmt.Errorf("its layers' digests: got %v, want %v", digests, i.Images[at].DiffIDs())
	}
	return errors.Join(err, opened.Close())
}

// agree reports where documents, volumes and mounts do not agree.
func agree(ctx context.Context, s *images.Store) error {
	var faults []error
	say := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	pool := s.Layers().Pool()
	if _, _, err := pool.Reap(ctx); err != nil {
		return err
	}
	found, err := s.Layers().Check(ctx)
	faults = append(faults, err)
	for _, d := range found {
		say("%s: %s", d.Object, d.Detail)
	}
	report, err := pool.Check(ctx)
	faults = append(faults, err)
	for _, finding := range report.Findings {
		say("the check found: %+v", finding)
	}
	volumes, err := pool.Volumes(ctx)
	faults = append(faults, err)
	for _, v := range volumes {
		if v.For == "work" || v.Active && v.For != "" && v.For != "container" {
			say("%s is left, active %v", v.Name, v.Active)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	faults = append(faults, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, pool.MountsDir()+"/.") {
			say("it is still mounted: %s", strings.TrimSpace(line))
		}
	}
	return errors.Join(append(faults, imagestest.CheckHidden(pool.MountsDir()))...)
}
