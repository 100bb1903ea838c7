package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	diff "github.com/containerd/containerd/api/services/diff/v1"
	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"

	"thinctl/internal/testkit/imagetest"
)

// The operations on an image and its containers.
const (
	unpack      = "unpack of the image"
	unpackApply = "of which the diff service"
	start       = "start of all containers"
	startOne    = "start of one container"
	startRoot   = "of which Prepare"
	end         = "kill, removal and collection of all containers"
)

var livesOf = []string{unpack, unpackApply, start, startOne, startRoot, end}

// image is the image that containerd unpacks.
type image struct {
	Layers []*types.Descriptor `json:"layers"`
	Chains []string            `json:"chains"` // names of their snapshots
}

func (i image) top() string { return i.Chains[len(i.Chains)-1] }

const dataLayers = 5 // in addition to the layer of the program

// images measures the operations of containerd's snapshotters on an image.
func (p plan) images(ctx context.Context, r results, f *fixture, peers []peer) error {
	image, err := f.imported(ctx, p.image)
	if err != nil {
		return fmt.Errorf("importing an image: %w", err)
	}
	var faults []error
	var servers []*server
	for _, one := range peers {
		if of, ok := one.(*server); ok && of.title != directName {
			servers = append(servers, of)
		}
	}
	if len(servers) == 0 {
		return nil
	}
	// The first unpacking, and the first container, would pay for work that all of them
	// use.
	warm := plan{unpacks: 1, crowd: min(p.crowd, 1)}
	if err := warm.life(ctx, results{}, servers[len(servers)-1], image); err != nil {
		return fmt.Errorf("%s: %w", servers[len(servers)-1].title, err)
	}
	for _, of := range servers {
		began := time.Now()
		if err := p.life(ctx, r, of, image); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", of.title, err))
		}
		fmt.Fprintf(os.Stderr, "%s, images, %.1f s:", of.title, time.Since(began).Seconds())
		for _, operation := range livesOf {
			if f := r[key{of.title, operation, 0, 0}]; f != nil {
				fmt.Fprintf(os.Stderr, " %s %s;", operation, f.cell())
			}
		}
		fmt.Fprintln(os.Stderr)
	}
	return errors.Join(faults...)
}

// life unpacks the image some times, and after the last time starts containers of it.
func (p plan) life(ctx context.Context, r results, of *server, i image) error {
	ctx = inNamespace(ctx)
	for n := range p.unpacks {
		if err := of.unpack(ctx, r, i); err != nil {
			return fmt.Errorf("unpacking: %w", err)
		}
		if n == p.unpacks-1 && p.crowd > 0 {
			if err := p.startAll(ctx, r, of, i.top()); err != nil {
				return err
			}
		}
		for n := range i.Chains {
			if err := of.remove(ctx, i.Chains[len(i.Chains)-1-n]); err != nil {
				return err
			}
		}
		if err := of.collect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unpack unpacks the image as containerd's client does.
func (s *server) unpack(ctx context.Context, r results, i image) error {
	began, parent, applying := time.Now(), "", time.Duration(0)
	for n, layer := range i.Layers {
		made, err := s.snapshots.Prepare(ctx,
			&api.PrepareSnapshotRequest{Snapshotter: s.snapshotter, Key: "extract", Parent: parent, Labels: kept})
		if err != nil {
			return err
		}
		apply := time.Now()
		if _, err := s.diff.Apply(ctx, &diff.ApplyRequest{Diff: layer, Mounts: made.GetMounts()}); err != nil {
			return err
		}
		applying += time.Since(apply)
		parent = i.Chains[n]
		if _, err := s.snapshots.Commit(ctx,
			&api.CommitSnapshotRequest{Snapshotter: s.snapshotter, Name: parent, Key: "extract", Labels: kept}); err != nil {
			return err
		}
	}
	took := time.Since(began)
	r.at(key{s.title, unpack, 0, 0}).add(took, 1, took)
	r.at(key{s.title, unpackApply, 0, 0}).add(applying, 1, applying)
	return nil
}

// imported imports the content of the image in a directory into containerd.
func (f *fixture) imported(ctx context.Context, dir string) (image, error) {
	var i image
	text, err := os.ReadFile(filepath.Join(dir, imageList))
	if err == nil {
		err = json.Unmarshal(text, &i)
	}
	if err == nil {
		_, err = f.daemon.Do(ctx, "--namespace", namespace, "images", "import", "--no-unpack",
			filepath.Join(dir, imageArchive))
	}
	return i, err
}

// Files of an image in a directory.
const (
	imageArchive = "image.tar"
	imageList    = "image.json"
)

// makeImage writes the image that is unpacked to a directory. In an emulated guest that
// takes minutes, outside seconds.
func makeImage(dir string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	built, err := imagetest.Build(layered(busybox))
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, imageArchive))
	if err != nil {
		return err
	}
	if err := errors.Join(imagetest.WriteOCI(file, imagetest.Gzip, built), file.Close()); err != nil {
		return err
	}
	i := image{}
	if i.Layers, err = layersOf(file.Name()); err != nil {
		return err
	}
	for _, id := range built.ChainIDs {
		i.Chains = append(i.Chains, "sha256:"+id)
	}
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, imageList), text, 0o600)
}

// layered returns an image of a program and of 60 MB in 3,000 files, most of them small,
// half of them text.
func layered(program []byte) imagetest.Image {
	all := imagetest.Program("thinctl/bench:1", "/busybox", program)
	dice := rand.New(rand.NewPCG(1, 2))
	for n := range dataLayers {
		layer := imagetest.Layer{CreatedBy: fmt.Sprint("ADD ", n)}
		for at := range 600 {
			size := 500 + dice.Int64N(15_000)
			if at%60 == 0 {
				size = 400_000 + dice.Int64N(1_000_000)
			}
			kind := imagetest.Random
			if at%2 == 1 {
				kind = imagetest.Text
			}
			dir := fmt.Sprintf("srv/layer-%d/d%02d", n, at/30)
			if at%30 == 0 {
				layer.Entries = append(layer.Entries,
					imagetest.Entry{Path: dir, Type: tar.TypeDir, Mode: 0o755, Time: time.Unix(1e9, 0)})
			}
			layer.Entries = append(layer.Entries,
				imagetest.Entry{Path: fmt.Sprintf("%s/f%04d", dir, at), Type: tar.TypeReg, Mode: 0o644,
					Time: time.Unix(1e9, 0), Content: imagetest.Content{Kind: kind, Size: size, Seed: dice.Uint64()}})
		}
		all.Layers = append(all.Layers, layer)
	}
	return all
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// layersOf returns the descriptors of the layers in an archive of one image.
func layersOf(path string) ([]*types.Descriptor, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	small := map[string][]byte{} // the archive's documents, by name
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Size < 1<<16 {
			if small[h.Name], err = io.ReadAll(r); err != nil {
				return nil, err
			}
		}
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(small["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		return nil, fmt.Errorf("the archive's index has %d images: %w", len(index.Manifests), err)
	}
	var manifest struct {
		Layers []descriptor `json:"layers"`
	}
	name := "blobs/" + strings.Replace(index.Manifests[0].Digest, ":", "/", 1)
	if err := json.Unmarshal(small[name], &manifest); err != nil {
		return nil, fmt.Errorf("the archive's %s: %w", name, err)
	}
	var all []*types.Descriptor
	for _, l := range manifest.Layers {
		all = append(all, &types.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size})
	}
	return all, nil
}
