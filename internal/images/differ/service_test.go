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

// A running container's difference is what it has written, in each media type, with
// the labels that Docker and BuildKit look for, and held against garbage collection.
func TestCompare(t *testing.T) {
	st := newStage(t)
	lower, upper, _ := st.running(t)
	for _, media := range []string{"", v1.MediaTypeImageLayer, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerZstd} {
		layer, err := st.differ.Compare(st.ctx, lower, upper, diff.WithMediaType(media), diff.WithLabels(map[string]string{"x": "y"}))
		check(t, err)
		want := media
		if want == "" {
			want = v1.MediaTypeImageLayerGzip
		}
		if layer.MediaType != want {
			t.Errorf("asked for %q it is %s", media, layer.MediaType)
		}
		_, err = st.db.GarbageCollect(st.ctx)
		check(t, err)
		names, sum := st.unpacked(t, layer)
		if !slices.Equal(names, []string{"b"}) {
			t.Errorf("the layer has %q, want b", names)
		}
		info, err := st.store.Info(st.ctx, layer.Digest)
		check(t, err)
		if info.Labels[labels.LabelUncompressed] != sum.String() || media == "" && info.Labels["x"] != "y" || info.Size != layer.Size {
			t.Errorf("%s has %d bytes and the labels %v; want %d, and the digest %s", media, info.Size, info.Labels, layer.Size, sum)
		}
		st.left(t, 1)
	}
	held, err := metadata.NewLeaseManager(st.db).List(st.ctx)
	check(t, err)
	for _, lease := range held {
		until, err := time.Parse(time.RFC3339, lease.Labels[expires])
		if err != nil || until.Before(time.Now()) || until.After(time.Now().Add(2*time.Hour)) {
			t.Errorf("lease %s expires at %q", lease.ID, lease.Labels[expires])
		}
	}
}

// unpacked reads a layer: its entries, and the digest of the tar.
func (st *stage) unpacked(t *testing.T, layer v1.Descriptor) (names []string, sum digest.Digest) {
	t.Helper()
	r, err := st.store.ReaderAt(st.ctx, layer)
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

// The client's lease is used where containerd passes it on, and its reference: what an
// earlier attempt has left under it is written over.
func TestLeaseAndReference(t *testing.T) {
	st := newStage(t)
	lower, upper, _ := st.running(t)
	manager := metadata.NewLeaseManager(st.db)
	mine, err := manager.Create(st.ctx, leases.WithID("mine"))
	check(t, err)
	ctx := leases.WithLease(st.ctx, mine.ID)
	w, err := st.store.Writer(ctx, content.WithRef("build-7"))
	check(t, err)
	_, err = w.Write([]byte("half a layer"))
	check(t, errors.Join(err, w.Close()))
	layer, err := st.differ.Compare(ctx, lower, upper, diff.WithReference("build-7"))
	check(t, err)
	if names, _ := st.unpacked(t, layer); !slices.Equal(names, []string{"b"}) {
		t.Errorf("the layer has %q, want b", names)
	}
	all, err := manager.List(st.ctx)
	check(t, err)
	held, err := manager.ListResources(st.ctx, mine)
	check(t, err)
	if len(all) != 1 || !slices.ContainsFunc(held, func(r leases.Resource) bool { return r.ID == layer.Digest.String() }) {
		t.Errorf("the leases are %v, mine holds %v", all, held)
	}
	st.left(t, 1)
}

// What is not for this differ is declined, so that containerd takes the next one, in
// any state of the pool; what is and cannot be done has the code that says why.
func TestRefused(t *testing.T) {
	st := newStage(t)
	lower, upper, _ := st.running(t)
	one := func(source string) []mount.Mount { return []mount.Mount{{Type: "ext4", Source: source}} }
	other := []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a:/b"}}}
	declined := map[string]func() error{
		"overlay":           func() error { _, err := st.differ.Compare(st.ctx, other, other); return err },
		"overlay over ours": func() error { _, err := st.differ.Compare(st.ctx, lower, other); return err },
		"a disk":            func() error { _, err := st.differ.Compare(st.ctx, lower, one("/dev/sda1")); return err },
		"two mounts":        func() error { _, err := st.differ.Compare(st.ctx, lower, append(upper[:1:1], upper...)); return err },
		"nothing":           func() error { _, err := st.differ.Compare(st.ctx, lower, nil); return err },
		"a media type": func() error {
			_, err := st.differ.Compare(st.ctx, lower, upper, diff.WithMediaType("application/vnd.oci.image.layer.v1.tar+xz"))
			return err
		},
		"apply": func() error { _, err := st.differ.Apply(st.ctx, v1.Descriptor{}, upper); return err },
	}
	for _, ready := range []error{nil, errors.New("pool vault is not ready")} {
		st.ready = ready
		for name, do := range declined {
			if err := do(); !errdefs.IsNotImplemented(err) {
				t.Errorf("%s, ready: %v: %v is not declined", name, ready, err)
			}
		}
	}
	if _, err := st.differ.Compare(st.ctx, lower, upper); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("not ready: %v", err)
	}
	st.ready = nil
	if _, err := st.differ.Compare(st.ctx, lower, one(upper[0].Source+"0")); !errdefs.IsNotFound(err) {
		t.Errorf("a snapshot that is gone: %v", err)
	}
	if _, err := st.differ.Compare(t.Context(), lower, upper); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("no namespace: %v", err)
	}
	ended, end := context.WithCancel(st.ctx)
	end()
	if _, err := st.differ.Compare(ended, lower, upper); !errdefs.IsCanceled(err) {
		t.Errorf("cancelled: %v", err)
	}
	st.left(t, 1)
}

// A layer that cannot be written leaves nothing, no lease either.
func TestUnwritable(t *testing.T) {
	st := newStage(t)
	lower, upper, root := st.running(t)
	check(t, os.WriteFile(filepath.Join(root, ".wh.b"), nil, 0o600))
	_, err := st.differ.Compare(st.ctx, lower, upper)
	if err == nil || errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), ".wh.b") {
		t.Errorf("a file that a layer cannot have: %v", err)
	}
	held, listed := metadata.NewLeaseManager(st.db).List(st.ctx)
	check(t, listed)
	if len(held) != 0 {
		t.Errorf("leases are left: %v", held)
	}
	st.left(t, 1)
}

// Without containerd the answer is Unavailable, names the socket, and nothing is left.
func TestWithoutContainerd(t *testing.T) {
	st := newStage(t)
	lower, upper, _ := st.running(t)
	away := filepath.Join(t.TempDir(), "away.sock")
	d, err := New(st.s, Options{Containerd: away})
	check(t, err)
	defer d.Close()
	st.differ = proxyOf(t, d)
	if _, err := st.differ.Compare(st.ctx, lower, upper); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), away) {
		t.Errorf("without containerd: %v", err)
	}
	st.left(t, 1)
}

// The trees of one container are compared many times at once, while it writes.
func TestManyAtOnce(t *testing.T) {
	st := newStage(t)
	lower, upper, _ := st.running(t)
	ended := make(chan error)
	const times = 4
	for range times {
		go func() {
			layer, err := st.differ.Compare(st.ctx, lower, upper)
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
		t.Errorf("%q", slices.Collect(maps.Keys(found)))
	}
	st.left(t, 1)
}
