package images_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images"
	"thinctl/internal/testkit/imagestest"
	"thinctl/internal/testkit/imagetest"
)

// known is an image that the tests load.
type known struct {
	*imagestest.Prepared
	label string
	tar   []byte // of the first layer
}

var madeAt = time.Date(2019, 5, 6, 7, 8, 9, 1000, time.UTC)

func dir(path string) imagetest.Entry {
	return imagetest.Entry{Path: path, Type: tar.TypeDir, Mode: 0o755, Time: madeAt}
}

func file(path string, size int64, seed uint64) imagetest.Entry {
	return imagetest.Entry{Path: path, Type: tar.TypeReg, Mode: 0o640, UID: 3, GID: 4, Time: madeAt,
		Content: imagetest.Content{Kind: imagetest.Random, Size: size, Seed: seed}}
}

func link(path, to string) imagetest.Entry {
	return imagetest.Entry{Path: path, Type: tar.TypeLink, Mode: 0o640, UID: 3, GID: 4, Link: to, Time: madeAt}
}

func layer(entries ...imagetest.Entry) imagetest.Layer {
	return imagetest.Layer{CreatedBy: "a step", Entries: entries}
}

// base returns the layer that one and two share.
func base() imagetest.Layer {
	return layer(dir("etc"), file("etc/conf", 300, 1), dir("bin"), file("bin/sh", 5000, 2), link("bin/bash", "bin/sh"),
		file("bin/old", 10, 3), dir("lib"), file("lib/a", 1000, 4), file("lib/b", 1000, 5))
}

func madeOf(label, name string, layers ...imagetest.Layer) func() (*known, error) {
	return sync.OnceValues(func() (*known, error) {
		prepared, err := imagestest.Prepare(context.Background(), imagetest.Image{Names: []string{name}, Layers: layers})
		if err != nil {
			return nil, err
		}
		var base bytes.Buffer
		if err := layers[0].WriteTar(&base); err != nil {
			return nil, err
		}
		return &known{Prepared: prepared, label: label, tar: base.Bytes()}, nil
	})
}

var (
	makeOne = madeOf("one", "one:1", base(),
		layer(dir("bin"), imagetest.Entry{Path: "bin/.wh.old", Type: tar.TypeReg, Time: madeAt}, file("bin/ls", 7000, 6)),
		layer(dir("lib"), imagetest.Entry{Path: "lib/.wh..wh..opq", Type: tar.TypeReg, Time: madeAt}, file("lib/c", 70, 7),
			imagetest.Entry{Path: "lib/d", Type: tar.TypeSymlink, Mode: 0o777, Link: "c", Time: madeAt}))
	makeTwo = madeOf("two", "two:1", base(),
		layer(dir("srv"), file("srv/page", 9000, 8), dir("etc"), file("etc/conf", 200, 9)),
		layer(dir("srv"), file("srv/log", 100, 10)))
	makeRenewed = madeOf("renewed", "renewed:1", base(), layer(dir("etc"), file("etc/conf", 4000, 11)))
	makeFlat    = madeOf("flat", "flat:1", layer(dir("home"), file("home/it", 3000, 12), link("home/too", "home/it")))
)

func get(t *testing.T, create func() (*known, error)) *known {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func knownOne(t *testing.T) *known     { return get(t, makeOne) }
func knownTwo(t *testing.T) *known     { return get(t, makeTwo) }
func knownRenewed(t *testing.T) *known { return get(t, makeRenewed) }
func knownFlat(t *testing.T) *known    { return get(t, makeFlat) }

func allKnown(t *testing.T) []*known {
	return []*known{knownOne(t), knownTwo(t), knownRenewed(t), knownFlat(t)}
}

// list returns a line for each image, with its names.
func (b *fixture) list() []string {
	b.Helper()
	all, err := b.s.Images(b.ctx)
	b.check(err)
	var lines []string
	for _, image := range all {
		line := b.label(image) + ":"
		for _, name := range image.Names {
			line += " " + name.Familiar()
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func (b *fixture) label(image images.Image) string {
	if image.Parent != "" {
		if image.ID != "" {
			return "committed, digested"
		}
		return "committed"
	}
	if k := b.known(image); k != nil {
		return k.label
	}
	return "unknown " + image.Key
}

// known returns the image of the tests that a stored image was made from, or nil. An
// imported image is found by its layer, because its config is new.
func (b *fixture) known(image images.Image) *known {
	flat := knownFlat(b.T)
	for _, k := range append(allKnown(b.T), b.extra...) {
		if image.ID == k.ID {
			return k
		}
	}
	config, err := image.Config()
	if err != nil || len(config.RootFS.DiffIDs) != 1 {
		return nil
	}
	if config.RootFS.DiffIDs[0].String() == flat.DiffIDs()[0] {
		return flat
	}
	return nil
}

// faults returns everything that neither a complete nor an undone operation leaves. With
// loose, layers without an image are allowed.
func (b *fixture) faults(loose bool) []error {
	b.Helper()
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	check := func(object string, err error) {
		if err != nil {
			add("%s: %w", object, err)
		}
	}
	all, err := b.s.Images(b.ctx)
	check("list", err)
	needed := map[string]bool{}
	for _, image := range all {
		for _, id := range image.Layers {
			needed[id] = true
		}
		check(image.String(), b.wholeImage(image))
	}
	layers, err := b.s.Layers().Layers(b.ctx)
	check("list", err)
	splits := map[string]bool{}
	for _, l := range layers {
		if !needed[l.ID] && !loose {
			add("layer %s is left", l.ID)
		}
		splits[l.ID+".split.gz"] = l.Base == ""
		tree := b.expected(l.ID, l.DiffID, l.Base != "")
		if tree == nil {
			add("layer %s belongs to no image of the tests", l.ID)
			continue
		}
		check("layer "+l.ID, b.sameTree(l.ID, tree))
	}
	check("splits", imagestest.CheckSplits(b.pool.LayersDir(), splits))
	check("pool", b.consistent())
	return faults
}

// expected returns the tree that a layer must have, or nil for an unknown layer.
func (b *fixture) expected(id, diffID string, committed bool) imagetest.Tree {
	if committed {
		if tree := b.commits[id]; tree != nil {
			return tree
		}
		return b.committed
	}
	for _, k := range append(allKnown(b.T), b.extra...) {
		if at := slices.Index(k.ChainIDs, id); at >= 0 {
			return k.Trees[at]
		}
	}
	if flat := knownFlat(b.T); diffID == flat.DiffIDs()[0] {
		return flat.Trees[0]
	}
	return nil
}

func (b *fixture) sameTree(layer string, want imagetest.Tree) error {
	got, err := imagestest.ReadTree(b.ctx, b.s.Layers(), layer)
	if err != nil {
		return err
	}
	if differences := want.Diff(got, 5); len(differences) > 0 {
		return errors.New(strings.Join(differences, "\n"))
	}
	return nil
}

// wholeImage reads an image as Save does. It skips an image without an id: reading that
// image would compute and store the id. Its layers are checked one by one.
func (b *fixture) wholeImage(image images.Image) error {
	if image.ID == "" {
		return nil
	}
	opened, err := b.s.Open(b.ctx, image.ID)
	if err != nil {
		return err
	}
	return errors.Join(b.sameBytes(image, opened.Image), opened.Close())
}

func (b *fixture) sameBytes(record images.Image, image v1.Image) error {
	raw, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != record.ID {
		return fmt.Errorf("the config: got digest %s, want %s", got, record.ID)
	}
	digests, err := imagestest.DiffIDs(image)
	if err != nil {
		return err
	}
	if k := b.known(record); k != nil && !slices.Equal(digests, k.DiffIDs()) {
		return fmt.Errorf("the layers: got digests %v, want %v", digests, k.DiffIDs())
	}
	return nil
}

// consistent returns an error if documents, volumes and mounts do not agree, or if
// leases and views are left.
func (b *fixture) consistent() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	found, err := b.s.Layers().Check(b.ctx)
	faults = append(faults, err)
	for _, d := range found {
		add("%s: %s", d.Object, d.Detail)
	}
	faults = append(faults, b.pool.Close(b.ctx)) // records which volumes were reaped
	report, err := b.pool.Check(b.ctx)
	faults = append(faults, err)
	for _, finding := range report.Findings {
		add("the pool's check found %+v", finding)
	}
	volumes, err := b.pool.Volumes(b.ctx)
	faults = append(faults, err)
	for _, v := range volumes {
		if v.For == "work" {
			add("%s is left", v.Name)
		}
		if v.Active && v.For != "container" {
			add("%s is active", v.Name)
		}
	}
	status, err := b.pool.Status(b.ctx)
	faults = append(faults, err)
	if status.Tombstones != 0 {
		add("%d tombstones are left", status.Tombstones)
	}
	for _, dir := range []string{b.pool.Dir(), b.pool.MountsDir()} {
		faults = append(faults, imagestest.CheckHidden(dir))
	}
	for _, target := range b.world.Files.Targets() {
		if strings.HasPrefix(filepath.Base(target), ".") {
			add("%s is still mounted", target)
		}
	}
	if violations := b.world.Kernel.Violations(); len(violations) != 0 {
		add("%v", violations)
	}
	return errors.Join(faults...)
}
