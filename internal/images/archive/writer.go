package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"thinctl/internal/images/manifest"
)

// WriteOptions change how WriteDocker and WriteOCI write.
type WriteOptions struct {
	// TempDir is the directory for layers whose size is not known yet; "" for os.TempDir.
	TempDir string
	// Progress is called with the number of bytes of layers that were written since the
	// last call.
	Progress func(n int64)
}

// Sized is implemented by layers that may have the size of their uncompressed tar. The size
// is -1 if only reading the layer gives it.
type Sized interface {
	UncompressedSize() (int64, error)
}

// output writes the tar of a layout: each blob once, then the files that refer to them.
// The same images give the same bytes.
type output struct {
	ctx     context.Context
	tar     *tar.Writer
	o       WriteOptions
	written map[v1.Hash]int64
}

func newOutput(ctx context.Context, w io.Writer, o WriteOptions) (*output, error) {
	out := &output{ctx: ctx, tar: tar.NewWriter(w), o: o, written: map[v1.Hash]int64{}}
	return out, errors.Join(out.directory("blobs/"), out.directory("blobs/sha256/"))
}

func (out *output) directory(name string) error {
	return out.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0)})
}

func (out *output) header(name string, size int64) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}
	return out.tar.WriteHeader(&h)
}

func (out *output) file(name string, contents []byte) error {
	if err := out.header(name, int64(len(contents))); err != nil {
		return err
	}
	_, err := out.tar.Write(contents)
	return err
}

func (out *output) json(name string, contents any) error {
	raw, err := json.Marshal(contents)
	if err != nil {
		return err
	}
	return out.file(name, raw)
}

// small writes a blob from memory.
func (out *output) small(t types.MediaType, raw []byte) (v1.Descriptor, error) {
	d := manifest.Descriptor(t, raw)
	if _, done := out.written[d.Digest]; done {
		return d, nil
	}
	out.written[d.Digest] = d.Size
	return d, out.file(blobPath(d.Digest), raw)
}

// blob writes the blob of a layer, which open returns. size is -1 if it is not known.
func (out *output) blob(digest v1.Hash, size int64, open func() (io.ReadCloser, error)) (int64, error) {
	if size, done := out.written[digest]; done {
		return size, nil
	}
	r, err := open()
	if err != nil {
		return 0, manifest.In("", "", digest.String(), err)
	}
	contents := io.Reader(&contextReader{out.ctx, r})
	if size < 0 {
		f, err := spool(out.o.TempDir, contents)
		if err != nil {
			return 0, manifest.In("", "", digest.String(), errors.Join(err, r.Close()))
		}
		defer f.Close()
		if size, err = f.Seek(0, io.SeekCurrent); err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			return 0, errors.Join(err, r.Close())
		}
		contents = &contextReader{out.ctx, f}
	}
	if err := out.header(blobPath(digest), size); err != nil {
		return 0, errors.Join(err, r.Close())
	}
	checked := manifest.Verify(io.NopCloser(contents), digest, size, nil)
	_, err = io.Copy(counting{out.tar, out.o.Progress}, checked)
	out.written[digest] = size
	return size, errors.Join(err, r.Close())
}

func (out *output) layoutVersion() error {
	return out.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"})
}

// close ends the tar. It does not end it after an error, so that the tar is not taken for
// complete.
func (out *output) close() error { return out.tar.Close() }

type counting struct {
	w        io.Writer
	progress func(int64)
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.progress != nil {
		c.progress(int64(n))
	}
	return n, err
}
