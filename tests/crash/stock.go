package crash

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/testkit/imagetest"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Stock is an image that is ready to be loaded, any number of times, and of which
// is known what must come of it.
type Stock struct {
	*imagetest.Built
	Image v1.Image
	Trees []imagetest.Tree // of the layers
}

// Stocks returns the images of the tests: the first two share their base, the
// third is of one layer. The largest layer has so many bytes. They are always the
// same.
func Stocks(ctx context.Context, bytes int64) ([]*Stock, error) {
	base := imagetest.Plain("base", bytes, 1).Layers[0]
	gone := imagetest.Layer{CreatedBy: "RUN rm", Entries: []imagetest.Entry{
		{Path: "srv", Type: tar.TypeDir, Mode: 0o755, Time: base.Entries[0].Time},
		{Path: "srv/.wh.d000", Type: tar.TypeReg, Time: base.Entries[0].Time}}}
	more := func(name string, size int64, seed uint64) imagetest.Layer {
		return imagetest.Plain(name, size, seed).Layers[0]
	}
	var stocks []*Stock
	for _, image := range []imagetest.Image{
		{Names: []string{"one:1"}, Layers: []imagetest.Layer{base, more("more", bytes/3, 2), gone}},
		{Names: []string{"two:1"}, Layers: []imagetest.Layer{base, more("other", bytes/2, 3)}},
		{Names: []string{"three:1"}, Layers: []imagetest.Layer{more("third", bytes/2, 4)}},
	} {
		stock, err := stockOf(ctx, image)
		if err != nil {
			return nil, err
		}
		stocks = append(stocks, stock)
	}
	return stocks, nil
}

func stockOf(ctx context.Context, image imagetest.Image) (*Stock, error) {
	built, err := imagetest.Build(image)
	if err != nil {
		return nil, err
	}
	s := &Stock{Built: built}
	for n := range image.Layers {
		tree, err := imagetest.Image{Layers: image.Layers[:n+1]}.Tree()
		if err != nil {
			return nil, err
		}
		s.Trees = append(s.Trees, tree)
	}
	var saved bytes.Buffer
	if err := imagetest.WriteDocker(&saved, built); err != nil {
		return nil, err
	}
	// What is read is kept in a file without a name, until the process ends.
	file, err := archive.Read(ctx, &saved, archive.Options{})
	if err != nil {
		return nil, err
	}
	s.Image = file.Images()[0].Image
	return s, nil
}

// OpenImages opens the images of a pool, with the host's own file systems or what
// stands for them.
func OpenImages(ctx context.Context, host thinpool.Host, files snapshots.Files, root, pool string, fs filesystem.Type) (*images.Store, error) {
	p, err := thinpool.Open(ctx, host, root, pool)
	if err != nil {
		return nil, err
	}
	return images.New(snapshots.New(p, files, snapshots.Options{FS: fs}), images.Options{}), nil
}

// Inventory is what a pool's images are held against.
type Inventory struct {
	Stocks []*Stock
	// Committed are digests of trees that containers had when they were committed.
	// Each committed layer must have one of them, the acknowledged ones their own.
	Committed []string
}

// Whole tells where an image or a layer is not whole, where there is a split too
// many or too few, and where documents, volumes and mounts do not agree. It
// returns the digests of the trees that it read, by layer; of a layer below an
// image's top it need not have read the tree.
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
	// Of the layers below an image's top the bytes are read with the image.
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
		tree, err := TreeOf(ctx, s, layer.ID)
		if err == nil {
			trees[layer.ID] = tree.Digest()
			err = i.wholeLayer(layer, tree)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("layer %.12s: %w", layer.ID, err))
		}
	}
	faults = append(faults, onlySplits(s.Layers().Pool().LayersDir(), splits))
	for _, image := range all {
		if err := i.wholeImage(ctx, s, image); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", image, err))
		}
	}
	return trees, errors.Join(errors.Join(faults...), agree(ctx, s))
}

func (i Inventory) wholeLayer(layer snapshots.Layer, tree imagetest.Tree) error {
	if layer.Base != "" {
		if !slices.Contains(i.Committed, tree.Digest()) {
			return errors.New("no container had its tree")
		}
		return nil
	}
	for _, stock := range i.Stocks {
		if at := slices.Index(stock.ChainIDs, layer.ID); at >= 0 {
			if differences := stock.Trees[at].Diff(tree, 5); len(differences) > 0 {
				return errors.New(strings.Join(differences, "\n"))
			}
			return nil
		}
	}
	return errors.New("it is nobody's")
}

// TreeOf reads a layer's tree.
func TreeOf(ctx context.Context, s *images.Store, layer string) (imagetest.Tree, error) {
	view, err := s.Layers().ViewLayer(ctx, layer)
	if err != nil {
		return nil, err
	}
	tree, err := imagetest.ReadTree(ctx, view.Root)
	return tree, errors.Join(err, view.Close())
}

// wholeImage reads an image as it is saved.
func (i Inventory) wholeImage(ctx context.Context, s *images.Store, image images.Image) error {
	at := slices.IndexFunc(i.Stocks, func(stock *Stock) bool { return stock.ID == image.ID })
	if at < 0 {
		if image.Parent == "" {
			return errors.New("it is nobody's")
		}
		return nil // its layers are looked at
	}
	opened, err := s.Open(ctx, image.ID)
	if err != nil {
		return err
	}
	defer opened.Close()
	raw, err := opened.Image.RawConfigFile()
	if err == nil && !bytes.Equal(raw, i.Stocks[at].JSON) {
		err = errors.New("its config is not the one that was loaded")
	}
	layers, fault := opened.Image.Layers()
	if err := errors.Join(err, fault); err != nil {
		return err
	}
	var digests []string
	for _, layer := range layers {
		r, err := layer.Uncompressed()
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		digests = append(digests, "sha256:"+hex.EncodeToString(sum.Sum(nil)))
	}
	if !slices.Equal(digests, i.Stocks[at].DiffIDs()) {
		err = fmt.Errorf("its layers digest to %v", digests)
	}
	return errors.Join(err, opened.Close())
}

func onlySplits(dir string, wanted map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var faults []error
	for _, entry := range entries {
		if !wanted[entry.Name()] {
			faults = append(faults, fmt.Errorf("%s is left", entry.Name()))
		}
		delete(wanted, entry.Name())
	}
	for name := range wanted {
		faults = append(faults, fmt.Errorf("%s is missing", name))
	}
	return errors.Join(faults...)
}

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
	entries, err := os.ReadDir(pool.MountsDir())
	faults = append(faults, err)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			say("%s is left in %s", entry.Name(), pool.MountsDir())
		}
	}
	return errors.Join(faults...)
}
