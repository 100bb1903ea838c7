package differ

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The difference of a running container is what it has written, in each media type. It
// has the labels that Docker and BuildKit read, and a lease.
func TestCompare(t *testing.T) {
	f := newFixture(t)
	lower, upper, _ := f.running(t)
	for _, media := range []string{"", v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd} {
		layer, err := f.differ.Compare(f.ctx, lower, upper, diff.WithMediaType(media), diff.WithLabels(map[string]string{"x": "y"}))
		check(t, err)
		want := media
		if want == "" {
			want = v1.MediaTypeImageLayerGzip
		}
		if layer.MediaType != want {
			t.Errorf("requested %q: got %s", media, layer.MediaType)
		}
		_, err = f.db.GarbageCollect(f.ctx)
		check(t, err)
		names, sum := f.unpacked(t, layer)
		if !slices.Equal(names, []string{"b"}) {
			t.Errorf("got the entries %q, want b", names)
		}
		info, err := f.store.Info(f.ctx, layer.Digest)
		check(t, err)
		if info.Labels[labels.LabelUncompressed] != sum.String() || media == "" && info.Labels["x"] != "y" || info.Size != layer.Size {
			t.Errorf("%s: got %d bytes and the labels %v; want %d, and the digest %s", media, info.Size, info.Labels, layer.Size, sum)
		}
		f.left(t, 1)
	}
	held, err := metadata.NewLeaseManager(f.db).List(f.ctx)
	check(t, err)
	for _, lease := range held {
		until, err := time.Parse(time.RFC3339, lease.Labels[expires])
		if err != nil || until.Before(time.Now()) || until.After(time.Now().Add(2*time.Hour)) {
			t.Errorf("lease %s: got the end %q", lease.ID, lease.Labels[expires])
		}
	}
}

// unpacked reads a layer: its entries, and the digest of the tar.
func (f *fixture) unpacked(t *testing.T, layer v1.Descriptor) (names []string, sum digest.Digest) {
	t.Helper()
	r, err := f.store.ReaderAt(f.ctx, layer)
	check(t, err)
	defer r.Close()
	plain, err := compression.DecompressStream(content.NewReader(r))
	check(t, err)
	defer plain.Close()
	digester := digest.SHA256.Digester()
	both := io.TeeReader(plain, digester.Hash())
	for in := tar.NewReader(both); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		names = append(names, h.Name)
	}
	_, err = io.Copy(io.Discard, both)
	check(t, err)
	return names, digester.Digest()
}

// The client's lease is used if containerd passes it on, and its reference: the data of
// an earlier attempt with the reference are overwritten.
func TestLeaseAndReference(t *testing.T) {
	f := newFixture(t)
	lower, upper, _ := f.running(t)
	manager := metadata.NewLeaseManager(f.db)
	mine, err := manager.Create(f.ctx, leases.WithID("mine"))
	check(t, err)
	ctx := leases.WithLease(f.ctx, mine.ID)
	w, err := f.store.Writer(ctx, content.WithRef("build-7"))
	check(t, err)
	_, err = w.Write([]byte("half a layer"))
	check(t, errors.Join(err, w.Close()))
	layer, err := f.differ.Compare(ctx, lower, upper, diff.WithReference("build-7"))
	check(t, err)
	if names, _ := f.unpacked(t, layer); !slices.Equal(names, []string{"b"}) {
		t.Errorf("got the entries %q, want b", names)
	}
	all, err := manager.List(f.ctx)
	check(t, err)
	held, err := manager.ListResources(f.ctx, mine)
	check(t, err)
	if len(all) != 1 || !slices.ContainsFunc(held, func(r leases.Resource) bool { return r.ID == layer.Digest.String() }) {
		t.Errorf("got the leases %v, of which the client's holds %v", all, held)
	}
	f.left(t, 1)
}

// A request for another differ is unimplemented in any state of the pool, so that
// containerd takes the next differ. A request that fails has the code of its cause.
func TestRefused(t *testing.T) {
	f := newFixture(t)
	lower, upper, _ := f.running(t)
	one := func(source string) []mount.Mount { return []mount.Mount{{Type: "ext4", Source: source}} }
	other := []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a:/b"}}}
	declined := map[string]func() error{
		"overlay":           func() error { _, err := f.differ.Compare(f.ctx, other, other); return err },
		"overlay over ours": func() error { _, err := f.differ.Compare(f.ctx, lower, other); return err },
		"a disk":            func() error { _, err := f.differ.Compare(f.ctx, lower, one("/dev/sda1")); return err },
		"two mounts":        func() error { _, err := f.differ.Compare(f.ctx, lower, append(upper[:1:1], upper...)); return err },
		"nothing":           func() error { _, err := f.differ.Compare(f.ctx, lower, nil); return err },
		"a media type": func() error {
			_, err := f.differ.Compare(f.ctx, lower, upper, diff.WithMediaType("application/vnd.oci.image.layer.v1.tar+xz"))
			return err
		},
	}
	for _, ready := range []error{nil, errors.New("pool vault is not ready")} {
		f.ready = ready
		for name, do := range declined {
			if err := do(); !errdefs.IsNotImplemented(err) {
				t.Errorf("%s, ready: %v: got %v, want it unimplemented", name, ready, err)
			}
		}
	}
	if _, err := f.differ.Compare(f.ctx, lower, upper); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("not ready: got %v", err)
	}
	f.ready = nil
	if _, err := f.differ.Compare(f.ctx, lower, one(upper[0].Source+"0")); !errdefs.IsNotFound(err) {
		t.Errorf("a removed snapshot: got %v", err)
	}
	if _, err := f.differ.Compare(t.Context(), lower, upper); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("no namespace: got %v", err)
	}
	ended, end := context.WithCancel(f.ctx)
	end()
	if _, err := f.differ.Compare(ended, lower, upper); !errdefs.IsCanceled(err) {
		t.Errorf("cancelled: got %v", err)
	}
	f.left(t, 1)
}

// A layer that cannot be written leaves nothing behind, not even a lease.
func TestUnwritable(t *testing.T) {
	f := newFixture(t)
	lower, upper, root := f.running(t)
	check(t, os.WriteFile(filepath.Join(root, ".wh.b"), nil, 0o600))
	_, err := f.differ.Compare(f.ctx, lower, upper)
	if err == nil || errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), ".wh.b") {
		t.Errorf("a file that a layer cannot contain: got %v", err)
	}
	held, listed := metadata.NewLeaseManager(f.db).List(f.ctx)
	check(t, listed)
	if len(held) != 0 {
		t.Errorf("got the leases %v, want none", held)
	}
	f.left(t, 1)
}

// Without containerd the answer to Compare is Unavailable, Apply is left to the next differ,
// both name the path of the socket, and nothing is left behind.
func TestWithoutContainerd(t *testing.T) {
	f := newFixture(t)
	lower, upper, _ := f.running(t)
	away := filepath.Join(t.TempDir(), "away.sock")
	d, err := New(f.s, Options{Containerd: away})
	check(t, err)
	defer d.Close()
	f.differ = proxyOf(t, d)
	if _, err := f.differ.Compare(f.ctx, lower, upper); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), away) {
		t.Errorf("without containerd: got %v", err)
	}
	prepared, err := f.s.Prepare(f.ctx, "extract", "")
	check(t, err)
	layer := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString("x"), Size: 1}
	_, err = f.differ.Apply(f.ctx, layer, mounts(prepared))
	if !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), away) {
		t.Errorf("an Apply without containerd, which is left to the next differ: got %v", err)
	}
	f.left(t, 1)
}

// The trees of one container are compared many times concurrently, while it writes.
func TestManyAtOnce(t *testing.T) {
	f := newFixture(t)
	lower, upper, _ := f.running(t)
	ended := make(chan error)
	const times = 4
	for range times {
		go func() {
			layer, err := f.differ.Compare(f.ctx, lower, upper)
			if err == nil && layer.Size == 0 {
				err = errors.New("it is empty")
			}
			ended <- err
		}()
	}
	found := map[string]bool{}
	for range times {
		if err := <-ended; err != nil {
			found[err.Error()] = true
		}
	}
	if len(found) != 0 {
		t.Errorf("got the entries %q", slices.Collect(maps.Keys(found)))
	}
	f.left(t, 1)
}
