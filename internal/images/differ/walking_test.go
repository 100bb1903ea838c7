package differ

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"thinctl/internal/images/layertar"
	"thinctl/internal/testkit/imagetest"
	"thinctl/internal/testkit/need"
	"thinctl/snapshots"
)

// TestAsWalking compares layers with those of containerd's walking differ. Both have the
// same entries, and containerd extracts the same tree from both, the upper one. Layers of
// this package also restore its attributes and times.
func TestAsWalking(t *testing.T) {
	need.Root(t)
	ctx := t.Context()
	base, after := t.TempDir(), t.TempDir()
	image := imagetest.Special()
	for n, layer := range image.Layers {
		if n > 0 {
			copyTree(t, base, after)
		}
		var text bytes.Buffer
		check(t, layer.WriteTar(&text))
		_, err := layertar.Apply(ctx, after, &text, layertar.ApplyOptions{})
		check(t, err)
		asWalking(t, base, after, fmt.Sprintf("layer %d", n))
		base, after = after, t.TempDir()
	}
	trees, entries := 10, 0
	if testing.Short() {
		trees = 5
	}
	for seed := range trees {
		upper := filepath.Join(t.TempDir(), "upper")
		check(t, os.Mkdir(upper, 0o755))
		copyTree(t, base, upper)
		check(t, imagetest.Mutate(upper, uint64(seed), 1+seed%40))
		check(t, odd(upper, seed))
		entries += asWalking(t, base, upper, fmt.Sprintf("seed %d", seed))
		check(t, os.RemoveAll(upper))
	}
	if entries < 10*trees {
		t.Errorf("got %d entries in all layers, want %d or more", entries, 10*trees)
	}
}

// odd makes changes that Mutate does not: devices, pipes, attributes, a replaced directory.
func odd(root string, seed int) error {
	at := func(name string) string { return filepath.Join(root, name) }
	capability := []byte{0, 0, 0, 2, byte(seed), 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	err := errors.Join(
		unix.Mknod(at("odd-device"), unix.S_IFBLK|0o640, int(unix.Mkdev(7, uint32(seed)))),
		unix.Mkfifo(at("odd-pipe"), 0o604),
		os.WriteFile(at("odd-program"), []byte("program"), 0o6755),
		os.Chmod(at("odd-program"), 0o755|os.ModeSetuid|os.ModeSticky),
		unix.Setxattr(at("odd-program"), "security.capability", capability, 0),
		os.WriteFile(at("odd-attributes"), nil, 0o600),
		os.Link(at("odd-attributes"), at("odd-link")),
	)
	// tmpfs supports user.* since Linux 6.6.
	if set := unix.Setxattr(at("odd-attributes"), "user.seed", []byte(fmt.Sprint(seed)), 0); !errors.Is(set, unix.ENOTSUP) {
		err = errors.Join(err, set)
	}
	if seed%2 == 0 {
		err = errors.Join(err, os.RemoveAll(at("opaque")), os.Mkdir(at("opaque"), 0o711), os.WriteFile(at("opaque/new"), []byte("x"), 0o600))
	}
	return err
}

func asWalking(t *testing.T, lower, upper, what string) int {
	t.Helper()
	ctx := t.Context()
	var ours, theirs bytes.Buffer
	sum, err := stream(ctx, snapshots.Trees{Lower: lower, Upper: upper}, request{media: v1.MediaTypeImageLayer}, &ours)
	check(t, err)
	if sum.Algorithm().FromBytes(ours.Bytes()) != sum {
		t.Errorf("%s: got another digest than the layer's", what)
	}
	check(t, archive.WriteDiff(ctx, &theirs, lower, upper))
	got, want := names(t, ours.Bytes()), names(t, theirs.Bytes())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the layer has other entries than the walking differ's (-theirs +ours):\n%s", what, diff)
	}
	ourTree, theirTree := extracted(t, lower, ours.Bytes()), extracted(t, lower, theirs.Bytes())
	if diff := theirTree.Without(imagetest.Xattrs, imagetest.Nanosecond).Diff(ourTree.Without(imagetest.Xattrs, imagetest.Nanosecond), 10); diff != nil {
		t.Errorf("%s: the tree is not the walking differ's: %q", what, diff)
	}
	tree, err := imagetest.ReadTree(ctx, upper)
	check(t, err)
	for name, node := range tree {
		if node.Type == 'd' { // of directories that did not change the time is not kept
			node.Time = ourTree[name].Time
			tree[name] = node
		}
	}
	if diff := tree.Without(imagetest.Nanosecond).Diff(ourTree.Without(imagetest.Nanosecond), 10); diff != nil {
		t.Errorf("%s: the layer does not give the upper tree: %q", what, diff)
	}
	return len(got)
}

// extracted returns a copy of the lower tree, with a layer that containerd extracted.
func extracted(t *testing.T, lower string, layer []byte) imagetest.Tree {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	check(t, os.Mkdir(root, 0o755))
	copyTree(t, lower, root)
	_, err := archive.Apply(context.Background(), root, bytes.NewReader(layer))
	check(t, err)
	tree, err := imagetest.ReadTree(t.Context(), root)
	check(t, err)
	check(t, os.RemoveAll(root))
	return tree
}

// names returns the entries of a layer with their kinds. The first name of a file with
// several names may differ.
func names(t *testing.T, layer []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	for in := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		check(t, err)
		if _, twice := found[h.Name]; twice {
			t.Errorf("got %s twice in the layer", h.Name)
		}
		kind := string(h.Typeflag)
		if h.Typeflag == tar.TypeLink {
			kind = string(tar.TypeReg)
		}
		found[h.Name] = kind
	}
}

// SOURCE_DATE_EPOCH is the upper bound of modification times. Earlier times are kept.
func TestLatest(t *testing.T) {
	upper := t.TempDir()
	bound := time.Unix(1_600_000_000, 0)
	for name, at := range map[string]time.Time{"early": bound.Add(-time.Hour), "late": bound.Add(time.Hour)} {
		check(t, os.WriteFile(filepath.Join(upper, name), nil, 0o600))
		check(t, os.Chtimes(filepath.Join(upper, name), at, at))
	}
	var layer bytes.Buffer
	_, err := stream(t.Context(), snapshots.Trees{Upper: upper}, request{media: v1.MediaTypeImageLayer, latest: bound}, &layer)
	check(t, err)
	got := map[string]time.Time{}
	for in := tar.NewReader(&layer); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		got[h.Name] = h.ModTime
	}
	for name, want := range map[string]time.Time{"early": bound.Add(-time.Hour), "late": bound} {
		if !got[name].Equal(want) {
			t.Errorf("%s: got the time %s, want %s", name, got[name], want)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
