package imagetest

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/internal/testkit/need"
)

// TestFirstLayersAsGNUTarUnpacksThem unpacks single layers, since GNU tar does not apply
// whiteouts.
func TestFirstLayersAsGNUTarUnpacksThem(t *testing.T) {
	need.Root(t) // for owners and device nodes
	one, _ := Seeds(SeedOptions{Scale: 64})
	for name, layer := range map[string]Layer{
		"special": Special().Layers[0], "links": Links().Layers[0], "seed": one.Layers[5],
		"sparse": Sparse(64<<20, false).Layers[0], "gnu sparse": Sparse(64<<20, true).Layers[0],
		"crowd": Crowd(2000).Layers[0],
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			unpack(t, layer, root)
			seen, err := ReadTree(t.Context(), root)
			if err != nil {
				t.Fatal(err)
			}
			want, err := treeOf([]Layer{layer})
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range want.Diff(seen, 10) {
				t.Error(line)
			}
			if len(want) < 2 || want.Digest() != seen.Digest() {
				t.Errorf("%d paths: got digest %s, want %s", len(want), seen.Digest(), want.Digest())
			}
		})
	}
}

func unpack(t *testing.T, l Layer, root string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := l.WriteTar(file); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--delay-directory-restore", "-xpf", file.Name(), "-C", root).CombinedOutput()
	if err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
}

func TestWhiteouts(t *testing.T) {
	file := func(path, text string) Entry {
		return Entry{Path: path, Type: tar.TypeReg, Mode: 0o644, Content: Content{Text: text}}
	}
	dir := func(path string) Entry { return Entry{Path: path, Type: tar.TypeDir, Mode: 0o755} }
	base := Layer{Entries: []Entry{dir("d"), file("d/a", "1"), dir("d/s"), file("d/s/b", "1"), file("e", "1")}}
	for name, c := range map[string]struct {
		upper []Entry
		want  string
	}{
		"a file":                   {[]Entry{file("d/.wh.a", "")}, "d d/s d/s/b e"},
		"a directory":              {[]Entry{file(".wh.d", "")}, "e"},
		"an absent file":           {[]Entry{file(".wh.x", "")}, "d d/a d/s d/s/b e"},
		"opaque":                   {[]Entry{dir("d"), file("d/.wh..wh..opq", "")}, "d e"},
		"opaque, then new":         {[]Entry{dir("d"), file("d/.wh..wh..opq", ""), file("d/n", "2")}, "d d/n e"},
		"new, then opaque":         {[]Entry{dir("d"), file("d/n", "2"), file("d/a", "2"), file("d/.wh..wh..opq", "")}, "d d/a d/n e"},
		"a directory by a file":    {[]Entry{file("d", "2")}, "d e"},
		"a file by a directory":    {[]Entry{dir("e"), file("e/f", "2")}, "d d/a d/s d/s/b e e/f"},
		"a directory listed again": {[]Entry{dir("d")}, "d d/a d/s d/s/b e"},
		"a longer name stays":      {[]Entry{file("d2", ""), file(".wh.d", "")}, "d2 e"},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := treeOf([]Layer{base, {Entries: c.upper}})
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, p := range []string{"d", "d/a", "d/n", "d/s", "d/s/b", "d2", "e", "e/f"} {
				if _, ok := tree[p]; ok {
					paths = append(paths, p)
				}
			}
			if got := strings.Join(paths, " "); got != c.want || len(paths) != len(tree) {
				t.Errorf("got %s of %d paths, want %s", got, len(tree), c.want)
			}
		})
	}
}

func TestMutateIsTheSameInTheSameTree(t *testing.T) {
	need.Root(t)
	one, _ := Seeds(SeedOptions{Scale: 16})
	var trees []Tree
	for range 2 {
		root := t.TempDir()
		unpack(t, one.Layers[1], root)
		before, err := ReadTree(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		if err := Mutate(root, 9, 300); err != nil {
			t.Fatal(err)
		}
		after, err := ReadTree(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(before.Diff(after, 1<<20)); n < 100 {
			t.Errorf("got %d changed paths, want at least 100", n)
		}
		trees = append(trees, after.Without(Times))
	}
	for _, line := range trees[0].Diff(trees[1], 10) {
		t.Error(line)
	}
}

func ExampleTree_Diff() {
	a := Tree{"f": {Type: 'p', Mode: 0o644}, "gone": {Type: 'd'}}
	b := Tree{"f": {Type: 'p', Mode: 0o600}}
	for _, line := range a.Diff(b, 10) {
		fmt.Println(line)
	}
	// Output:
	// "f":
	//   want p 0644 0:0 1970-01-01T00:00:00Z
	//   got  p 0600 0:0 1970-01-01T00:00:00Z
	// "gone" is missing: d 0000 0:0 1970-01-01T00:00:00Z
}
