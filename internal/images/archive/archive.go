package archive

import (
	"context"
	"errors"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/fault"
	"thinctl/internal/images/compression"
	"thinctl/internal/images/manifest"
	"thinctl/units"
)

// Error is every error of this package; its Kind is one of package manifest's.
type Error = manifest.Error

// Options of Open and Read.
type Options struct {
	// TempDir is where what cannot be read in place is kept, default os.TempDir.
	TempDir string
	// Platform is chosen where there are several, default the host's.
	Platform v1.Platform
	// Window bounds the memory for uncompressing, default
	// compression.DefaultWindow.
	Window units.Bytes
	// Name is what errors call the archive, default its path.
	Name string
	// Warn receives what was accepted although it is unusual.
	Warn fault.Warn
}

// Entry is one image and the names it goes by, canonical; often none.
type Entry struct {
	Names []string
	Image v1.Image
}

// Archive is an open archive.
type Archive struct {
	tree   tree
	name   string
	warn   fault.Warn
	images []Entry
}

// Open opens the archive at a path: a file, a folder, or what is read as a
// stream such as a named pipe.
func Open(ctx context.Context, path string, o Options) (*Archive, error) {
	if o.Name == "" {
		o.Name = path
	}
	t, err := openPath(ctx, path, o)
	return finish(t, o, err)
}

// Read reads the whole archive from r, which it does not close.
func Read(ctx context.Context, r io.Reader, o Options) (*Archive, error) {
	if o.Name == "" {
		o.Name = "the standard input"
	}
	t, err := readStream(ctx, r, o)
	return finish(t, o, err)
}

func finish(t tree, o Options, err error) (*Archive, error) {
	if err != nil {
		return nil, inLoad(o.Name, "", err)
	}
	a := &Archive{tree: t, name: o.Name, warn: o.Warn.In(o.Name, "")}
	if a.images, err = a.find(o.Platform); err != nil {
		return nil, errors.Join(inLoad(o.Name, "", err), t.Close())
	}
	return a, nil
}

func inLoad(name, entry string, err error) error { return manifest.In("load", name, entry, err) }

// Images are those in the archive, in its order.
func (a *Archive) Images() []Entry { return a.images }

// Close ends the use of all its images and gives back what they took.
func (a *Archive) Close() error { return a.tree.Close() }

// find tells the formats apart.
func (a *Archive) find(platform v1.Platform) ([]Entry, error) {
	layout := &layout{archive: a, platform: platform}
	hasIndex := a.tree.has("index.json")
	switch {
	case a.tree.has("manifest.json"):
		entries, err := a.docker(layout)
		if !errors.Is(err, errNotDocker) {
			return entries, err
		}
		if !hasIndex {
			return nil, &Error{
				Part: "manifest.json", Kind: manifest.ErrFormat, Detail: "this is not the list that docker save writes", Err: err,
				Remedy: "copy the image with skopeo to docker-archive: or oci-archive:",
			}
		}
		return layout.entries()
	case hasIndex:
		return layout.entries()
	case a.tree.has("repositories"):
		return a.legacy()
	}
	return nil, a.unknown()
}

// unknown says what an archive without images is.
func (a *Archive) unknown() error {
	e := &Error{Kind: manifest.ErrMissing, Detail: "it has none of manifest.json, repositories (docker save) and index.json (OCI layout)"}
	switch {
	case a.tree.empty():
		e.Kind, e.Detail = manifest.ErrFormat, "it is empty"
	case a.tree.has("etc") || a.tree.has("bin") || a.tree.has("usr"):
		e.Kind, e.Remedy = manifest.ErrFormat, "as it looks like a file system, use: image import"
	}
	if e.Remedy == "" {
		e.Remedy = "save the image again"
	}
	return a.tree.doubt(e)
}

func openPath(ctx context.Context, path string, o Options) (tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openFolder(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() {
		if how, err := sniffFile(f); err == nil && how == compression.Plain {
			return indexFile(ctx, f, o.Warn.In(o.Name, ""))
		}
	}
	t, err := readStream(ctx, f, o)
	return t, errors.Join(err, f.Close())
}

func sniffFile(f *os.File) (compression.Kind, error) {
	head := make([]byte, compression.SniffLength)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return compression.Sniff(head[:n]), nil
}
