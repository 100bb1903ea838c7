package archive

import (
	"errors"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"thinctl/internal/images/compression"
	"thinctl/internal/images/manifest"
)

// tree gives access to the files of an archive by their names.
type tree interface {
	// file looks up a regular file, and follows links.
	file(name string) (file, error)
	has(name string) bool
	empty() bool
	// explainMissing adds to an error about a missing file that the tree is incomplete.
	explainMissing(*Error) error
	Close() error
}

// file describes the contents of an entry.
type file struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
}

// cleaned returns a name for the lookup, or an error for one that leads out of the archive.
func cleaned(name string) (string, error) {
	c := path.Clean(name)
	if name == "" || path.IsAbs(c) || c == ".." || strings.HasPrefix(c, "../") || strings.ContainsRune(c, 0) {
		return "", &Error{
			Part: name, Kind: manifest.ErrEscapes, Detail: "the name leads out of the archive",
			Remedy: "do not trust the source of this archive",
		}
	}
	return c, nil
}

// json reads a small file.
func (a *Archive) json(name string) ([]byte, error) {
	f, err := a.tree.file(name)
	if err != nil {
		return nil, err
	}
	return f.whole()
}

func (f file) whole() ([]byte, error) {
	if f.size > manifest.JSONLimit {
		e := manifest.Errorf(manifest.ErrTooLarge, "%d bytes of JSON, at most %d are allowed", f.size, manifest.JSONLimit)
		return nil, manifest.In("", "", f.name, e)
	}
	r, err := f.open()
	if err != nil {
		return nil, manifest.In("", "", f.name, err)
	}
	raw, err := io.ReadAll(io.LimitReader(r, f.size+1))
	if err = errors.Join(err, r.Close()); err == nil && int64(len(raw)) != f.size {
		err = manifest.Errorf(manifest.ErrTruncated, "%d of %d bytes", len(raw), f.size)
	}
	return raw, manifest.In("", "", f.name, err)
}

// head returns the first bytes of a file.
func (f file) head() ([]byte, error) {
	r, err := f.open()
	if err != nil {
		return nil, manifest.In("", "", f.name, err)
	}
	head := make([]byte, compression.SniffLength)
	n, err := io.ReadFull(r, head)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return head[:n], manifest.In("", "", f.name, errors.Join(err, r.Close()))
}

func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// blob reads a small blob, and checks it against its descriptor.
func (a *Archive) blob(d v1.Descriptor) ([]byte, error) {
	var raw []byte
	f, err := a.tree.file(blobPath(d.Digest))
	switch {
	case err == nil:
		if raw, err = f.whole(); err != nil {
			return nil, err
		}
	case errors.Is(err, manifest.ErrMissing) && len(d.Data) > 0:
		raw = d.Data
	default:
		return nil, err
	}
	if err := a.checkSize(d, int64(len(raw))); err != nil {
		return nil, err
	}
	checked := manifest.Verify(io.NopCloser(strings.NewReader(string(raw))), d.Digest, -1, nil)
	if _, err := io.Copy(io.Discard, checked); err != nil {
		return nil, manifest.In("", "", blobPath(d.Digest), err)
	}
	return raw, nil
}

// checkSize compares a blob's size with its descriptor's. A descriptor without a
// size is accepted: the digest decides.
func (a *Archive) checkSize(d v1.Descriptor, size int64) error {
	switch d.Size {
	case size:
		return nil
	case 0:
		a.warn.Add(blobPath(d.Digest), "the descriptor has no size; only the digest is checked")
		return nil
	}
	e := manifest.Errorf(manifest.ErrSize, "got %d bytes, the descriptor says %d", size, d.Size)
	e.Remedy = "save or copy the image again"
	return manifest.In("", "", blobPath(d.Digest), e)
}

// layer returns the layer whose blob is in f. If d has no digest, it is computed when it
// is first needed.
func (a *Archive) layer(f file, d v1.Descriptor, id v1.Hash) (*manifest.Layer, error) {
	head, err := f.head()
	if err != nil {
		return nil, err
	}
	name := func(err error) error { return inLoad(a.name, f.name, err) }
	l := &manifest.Layer{ID: id, Open: f.open, Plain: compression.Sniff(head) == compression.Plain, Name: name}
	if d.Digest.Hex != "" {
		l.Blob = manifest.Known(d)
		return l, nil
	}
	l.Verified, l.Blob = true, computed(f, d)
	return l, nil
}
