package differ

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/need"
	"thinctl/snapshots/filesystem"
)

// blob writes a blob into containerd's content store.
func (f *fixture) blob(t *testing.T, media string, data []byte) v1.Descriptor {
	t.Helper()
	layer := v1.Descriptor{MediaType: media, Digest: digest.FromBytes(data), Size: int64(len(data))}
	err := content.WriteBlob(f.ctx, f.store, layer.Digest.String(), bytes.NewReader(data), layer)
	check(t, err)
	return layer
}

// applied applies a layer to a new snapshot, and commits it.
func (f *fixture) applied(t *testing.T, name, parent string, layer v1.Descriptor) v1.Descriptor {
	t.Helper()
	on, err := f.s.Prepare(f.ctx, "extract "+name, parent)
	check(t, err)
	got, err := f.differ.Apply(f.ctx, layer, mounts(on))
	check(t, err)
	f.left(t, 0)
	check(t, f.s.Commit(f.ctx, name, "extract "+name))
	return got
}

// The layers of an image give its tree, and the answer has the diff id and the size of the
// tar, in each compression.
func TestApply(t *testing.T) {
	need.Root(t)
	image := imagetest.Special()
	want, err := image.Tree()
	check(t, err)
	for media, compression := range map[string]imagetest.Compression{
		v1.MediaTypeImageLayer:                                    imagetest.None,
		v1.MediaTypeImageLayerGzip:                                imagetest.Gzip,
		v1.MediaTypeImageLayerZstd:                                imagetest.Zstd,
		"application/vnd.docker.image.rootfs.diff.tar":            imagetest.Gzip,
		"application/vnd.docker.image.rootfs.foreign.diff.tar":    imagetest.None,
		"application/vnd.oci.image.layer.nondistributable.v1.tar": imagetest.None,
	} {
		t.Run(media, func(t *testing.T) {
			f := newFixture(t)
			parent := ""
			for _, layer := range image.Layers {
				var plain bytes.Buffer
				check(t, layer.WriteTar(&plain))
				data := plain.Bytes()
				if compression != imagetest.None {
					data, err = imagetest.Compressed(compression, data)
					check(t, err)
				}
				name := digest.FromBytes(plain.Bytes())
				got := f.applied(t, name.String(), parent, f.blob(t, media, data))
				parent = name.String()
				if got.MediaType != v1.MediaTypeImageLayer || got.Digest != name || got.Size != int64(plain.Len()) {
					t.Errorf("got %+v, want the digest %s and %d bytes", got, name, plain.Len())
				}
			}
			view, err := f.s.View(f.ctx, "look", parent)
			check(t, err)
			root := filepath.Join(t.TempDir(), "root")
			check(t, os.Mkdir(root, 0o755))
			check(t, f.Files.Mount(f.ctx, view[0].Source, root, filesystem.MountOptions{Type: filesystem.Ext4, ReadOnly: true}))
			tree, err := imagetest.ReadTree(f.ctx, root)
			check(t, errors.Join(err, f.Files.Unmount(f.ctx, root, filesystem.UnmountOptions{})))
			for _, difference := range want.Diff(tree, 10) {
				t.Error(difference)
			}
		})
	}
}

// A layer for another differ is unimplemented, so that containerd takes the next one, and a
// request that fails has the code of its cause and leaves no mount.
func TestApplyRefused(t *testing.T) {
	f := newFixture(t)
	lower, running, _ := f.running(t)
	var plain bytes.Buffer
	check(t, imagetest.Plain("x:1", imagetest.MB, 1).Layers[0].WriteTar(&plain))
	layer := f.blob(t, v1.MediaTypeImageLayer, plain.Bytes())
	encrypted := layer
	encrypted.MediaType += "+encrypted"
	cut := f.blob(t, v1.MediaTypeImageLayer, plain.Bytes()[:plain.Len()/2])
	escape, err := imagetest.Tar(imagetest.File{Name: "../out", Data: []byte("x")})
	check(t, err)
	out := f.blob(t, v1.MediaTypeImageLayer, escape)
	gone := layer
	gone.Digest = digest.FromString("gone")
	prepared, err := f.s.Prepare(f.ctx, "extract", "")
	check(t, err)
	into := mounts(prepared)
	ended, end := context.WithCancel(f.ctx)
	end()
	overlay := []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a:/b"}}}
	removed := []mount.Mount{{Type: "ext4", Source: into[0].Source + "0"}}
	for _, c := range []struct {
		name  string
		ctx   context.Context
		layer v1.Descriptor
		into  []mount.Mount
		is    func(error) bool
		words string
	}{
		{"another media type", f.ctx, encrypted, into, errdefs.IsNotImplemented, "+encrypted"},
		{"no media type", f.ctx, v1.Descriptor{}, into, errdefs.IsNotImplemented, "of type"},
		{"overlay", f.ctx, layer, overlay, errdefs.IsNotImplemented, "overlay"},
		{"no mounts", f.ctx, layer, nil, errdefs.IsNotImplemented, "no mounts"},
		{"a view", f.ctx, layer, lower, errdefs.IsNotImplemented, "not active"},
		{"a mounted snapshot", f.ctx, layer, running, func(err error) bool { return err != nil && !errdefs.IsNotImplemented(err) }, "mounted at"},
		{"a removed snapshot", f.ctx, layer, removed, errdefs.IsNotFound, "removed"},
		{"content that is gone", f.ctx, gone, into, errdefs.IsNotFound, gone.Digest.Encoded()},
		{"a truncated layer", f.ctx, cut, into, func(err error) bool { return err != nil && !errdefs.IsNotImplemented(err) }, "cut short"},
		{"an entry that escapes", f.ctx, out, into, func(err error) bool { return err != nil && !errdefs.IsNotImplemented(err) }, "leads out"},
		{"a cancelled request", ended, layer, into, errdefs.IsCanceled, ""},
		{"no namespace", t.Context(), layer, into, errdefs.IsFailedPrecondition, "namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := f.differ.Apply(c.ctx, c.layer, c.into); !c.is(err) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %q in it", err, c.words)
			}
			f.left(t, 1)
		})
	}
	f.ready = errors.New("pool vault is not ready")
	if _, err := f.differ.Apply(f.ctx, layer, into); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("not ready: got %v", err)
	}
	f.ready = nil
	_, err = f.differ.Apply(f.ctx, layer, into)
	check(t, err)
	f.left(t, 1)
}
