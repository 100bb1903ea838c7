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

// Error is an error of this package.
type Error = manifest.Error

// Options of Open and Read.
type Options struct {
	// TempDir is the directory for temporary files; "" for os.TempDir.
	TempDir string
	// Platform selects among images for several platforms; the host's by default.
	Platform v1.Platform
	// Window bounds the memory for decompression; 0 for compression.DefaultWindow.
	Window units.Bytes
	// Name is the archive's name in errors; the path by default.
	Name string
	// Warn receives warnings about unusual input that was accepted.
	Warn fault.Warn
}

// Entry is one image with its canonical names, if it has any.
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

// Open opens the archive at a path: a file, a directory, or a stream such as a named pipe.
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

// Images returns the images in the archive, in its order.
func (a *Archive) Images() []Entry { return a.images }

// Close closes the archive. Its images cannot be read afterwards.
func (a *Archive) Close() error { return a.tree.Close() }

// find detects the format, and reads the images.
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
				Part: "manifest.json", Kind: manifest.ErrFormat, Err: err,
				Detail: "not the list that docker save writes",
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

// unknown returns the error for an archive without images.
func (a *Archive) unknown() error {
	e := &Error{
		Kind:   manifest.ErrMissing,
		Detail: "no manifest.json or repositories (docker save) and no index.json (OCI layout)",
	}
	switch {
	case a.tree.empty():
		e.Kind, e.Detail = manifest.ErrFormat, "it is empty"
	case a.tree.has("etc") || a.tree.has("bin") || a.tree.has("usr"):
		e.Kind, e.Remedy = manifest.ErrFormat, "it looks like a file system: use image import"
	}
	if e.Remedy == "" {
		e.Remedy = "save the image again"
	}
	return a.tree.explainMissing(e)
}

func openPath(ctx context.Context, path string, o Options) (tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDirectory(path)
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
