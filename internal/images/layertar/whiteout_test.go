package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"thinctl/internal/testkit/need"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func directoryOf(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }

func whiteoutOf(name string) tar.Header { return tar.Header{Name: name} }

// lower makes the tree that whiteouts are applied to.
func lower(t testing.TB, root string) {
	t.Helper()
	apply(t, root, archiveOf(t,
		directoryOf("a/"), file("a/1"), file("a/2"), directoryOf("a/b/"), file("a/b/3"), directoryOf("a/b/c/"), file("a/b/c/4"),
		directoryOf("d/"), file("d/5"), symlink("l", "a"), symlink("abs", "/a/b"), link("d/6", "a/1"), file("top")))
}

var whiteouts = []struct {
	name    string
	headers []tar.Header
}{
	{"file", []tar.Header{whiteoutOf("a/.wh.1")}},
	{"directory", []tar.Header{whiteoutOf("a/.wh.b")}},
	{"missing", []tar.Header{whiteoutOf("a/.wh.nothing")}},
	{"below missing", []tar.Header{whiteoutOf("n/m/.wh.nothing")}},
	{"of a link", []tar.Header{whiteoutOf(".wh.l")}},
	{"through a link", []tar.Header{whiteoutOf("l/.wh.1")}},
	{"through an absolute link", []tar.Header{whiteoutOf("abs/.wh.c")}},
	{"opaque", []tar.Header{directoryOf("a/"), whiteoutOf("a/.wh..wh..opq"), file("a/new")}},
	{"opaque comes late", []tar.Header{directoryOf("a/"), file("a/new"), file("a/b/new"), whiteoutOf("a/.wh..wh..opq")}},
	{"opaque twice", []tar.Header{whiteoutOf("a/.wh..wh..opq"), file("a/new"), whiteoutOf("a/.wh..wh..opq"), file("a/b/3")}},
	{"opaque root", []tar.Header{file("top"), whiteoutOf(".wh..wh..opq")}},
	{"opaque through a link", []tar.Header{whiteoutOf("l/.wh..wh..opq")}},
	{"opaque after the directory was made again", []tar.Header{whiteoutOf(".wh.a"), file("a/b/x"), whiteoutOf("a/.wh..wh..opq")}},
	{"and again", []tar.Header{whiteoutOf(".wh.d"), directoryOf("d/"), file("d/new")}},
	{"of this layer's own", []tar.Header{file("n"), whiteoutOf(".wh.n"), file("o")}},
	{"directory of this layer's own", []tar.Header{directoryOf("n/"), file("n/x"), file("n/y"), whiteoutOf("n/.wh.x"), file("n/z")}},
	{"directory over file", []tar.Header{directoryOf("top/"), file("top/x")}},
	{"file over directory", []tar.Header{file("a")}},
	{"link over directory, then through it", []tar.Header{symlink("a", "d"), file("a/5")}},
	{"twice", []tar.Header{file("top"), {Name: "top", Size: 3}, {Name: "top", Size: 2}}},
	{"hard link, then the first name goes", []tar.Header{{Name: "x", Size: 9}, link("y", "x"), whiteoutOf(".wh.x")}},
	{"hard link over its target's directory", []tar.Header{{Name: "p/x", Size: 9}, link("y", "p/x"), file("p")}},
	{"metadata of aufs", []tar.Header{directoryOf(".wh..wh.plnk/"), file(".wh..wh.plnk/1.2"), whiteoutOf(".wh..wh.aufs"), file("new")}},
	{"with contents", []tar.Header{file(".wh.top"), file("new")}},
	{"a link on the way is replaced through itself", []tar.Header{symlink("a/self", "."), file("a/self/x"), symlink("a/self/self", "b"), file("a/self/y")}},
	{"a directory on the way becomes a link", []tar.Header{file("d/e/x"), symlink("d/e", "../a"), file("d/e/y")}},
	{"a link on the way is removed", []tar.Header{file("l/x"), whiteoutOf(".wh.l"), file("l/y")}},
	{"a missing directory behind links", []tar.Header{symlink("m", "/n/o"), symlink("k", "m/p"), file("k/x"), file("m/y")}},
	{"a hard link to a link, then to its target", []tar.Header{link("h", "l"), link("g", "l/1"), link("i", "abs/3")}},
	{"a hard link from the directory before", []tar.Header{file("a/b/x"), link("d/x", "a/b/x"), file("d/y"), link("a/b/z", "d/y")}},
	{"devices over files", []tar.Header{{Name: "a/1", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, {Name: "a", Typeflag: tar.TypeFifo}}},
}

// TestWhiteouts compares with containerd, and replays.
func TestWhiteouts(t *testing.T) {
	need.Root(t)
	for _, test := range whiteouts {
		t.Run(test.name, func(t *testing.T) { likeContainerd(t, archiveOf(t, test.headers...), test.name != "metadata of aufs") })
	}
}

func likeContainerd(t testing.TB, layer []byte, compare bool) {
	ours, theirs := t.TempDir(), t.TempDir()
	lower(t, ours)
	lower(t, theirs)
	applied := apply(t, ours, layer)
	replays(t, ours, applied, layer)
	if _, err := archive.Apply(context.Background(), theirs, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	if !compare {
		if _, err := os.Lstat(filepath.Join(ours, ".wh..wh.plnk")); err == nil {
			t.Error("got aufs's metadata in the tree")
		}
		return
	}
	want, got := describe(t, theirs), describe(t, ours)
	if diff := cmp.Diff(withoutTimes(want), withoutTimes(got)); diff != "" {
		t.Errorf("containerd's tree differs (-theirs +ours):\n%s", diff)
	}
}

// withoutTimes removes the times, as directories without an entry have the current time.
func withoutTimes(tree map[string]string) map[string]string {
	out := map[string]string{}
	for p, text := range tree {
		before, rest, _ := bytes.Cut([]byte(text), []byte(" mtime "))
		_, after, _ := bytes.Cut(rest, []byte(" "))
		out[p] = string(before) + " " + string(after)
	}
	return out
}

// TestRandomLayers compares random entries with few names with containerd, and replays.
func TestRandomLayers(t *testing.T) {
	need.Root(t)
	names := []string{"a", "a/b", "a/b/3", "a/1", "d", "d/5", "l", "l/b", "abs/c", "n", "n/x", "top"}
	rapid.Check(t, func(rt *rapid.T) {
		var headers []tar.Header
		for range rapid.IntRange(1, 8).Draw(rt, "entries") {
			name := rapid.SampledFrom(names).Draw(rt, "name")
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				headers = append(headers, directoryOf(name+"/"))
			case 1:
				headers = append(headers, whiteoutOf(filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name))))
			case 2:
				headers = append(headers, whiteoutOf(name+"/.wh..wh..opq"))
			case 3:
				headers = append(headers, symlink(name, rapid.SampledFrom(names).Draw(rt, "target")))
			default:
				headers = append(headers, tar.Header{Name: name, Size: int64(rapid.IntRange(0, 2000).Draw(rt, "size"))})
			}
		}
		layer := archiveOf(t, headers...)
		ours, theirs := mustTemp(rt), mustTemp(rt)
		defer os.RemoveAll(ours)
		defer os.RemoveAll(theirs)
		lower(t, ours)
		lower(t, theirs)
		applied, err := Apply(t.Context(), ours, bytes.NewReader(layer), ApplyOptions{})
		_, terr := archive.Apply(t.Context(), theirs, bytes.NewReader(layer))
		if err != nil {
			// containerd also fails if a directory no longer exists at the end.
			if terr == nil {
				rt.Fatalf("got %v, and containerd accepts the layer", err)
			}
			return
		}
		var again bytes.Buffer
		if err := Replay(t.Context(), ours, applied.Split.Reader(), &again, ""); err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), layer) {
			rt.Fatal("got another tar from Replay")
		}
		if terr != nil {
			return
		}
		if diff := cmp.Diff(withoutTimes(describe(t, theirs)), withoutTimes(describe(t, ours))); diff != "" {
			rt.Fatalf("containerd's tree differs (-theirs +ours):\n%s", diff)
		}
	})
}

func mustTemp(rt *rapid.T) string {
	dir, err := os.MkdirTemp("", "layertar")
	if err != nil {
		rt.Fatal(err)
	}
	return dir
}
