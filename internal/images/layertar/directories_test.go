package layertar

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/testkit/need"
)

// TestParentsThatWereFiles applies layers with entries below files of the tree. The
// results are those of containerd and Docker on overlayfs.
func TestParentsThatWereFiles(t *testing.T) {
	need.Root(t)
	for _, c := range []struct {
		name    string
		headers []tar.Header
		want    string // the tree; directories end in a slash
		warn    bool
	}{
		{"below a file", []tar.Header{file("was/new"), file("was/other")}, "dir/ dir/file link new/ new/was was/ was/new was/other", true},
		{"deep below a file", []tar.Header{file("was/a/b/new")}, "dir/ dir/file link new/ new/was was/ was/a/ was/a/b/ was/a/b/new", true},
		{"below a file of a directory", []tar.Header{file("dir/file/new")}, "dir/ dir/file/ dir/file/new link new/ new/was was", true},
		{"below a link to a file", []tar.Header{file("link/new")}, "dir/ dir/file link/ link/new new/ new/was was", true},
		{"deep below a link to a file", []tar.Header{file("link/a/new")}, "dir/ dir/file link/ link/a/ link/a/new new/ new/was was", true},
		{"a whiteout below a file", []tar.Header{whiteoutOf("was/.wh.x")}, "dir/ dir/file link new/ new/was was/", true},
		{"a directory of its own first", []tar.Header{directoryOf("was/"), file("was/new")}, "dir/ dir/file link new/ new/was was/ was/new", false},
		{"a whiteout of the file first", []tar.Header{whiteoutOf(".wh.was"), file("was/new")}, "dir/ dir/file link new/ new/was was/ was/new", false},
		{"below a link of its own to a file below", []tar.Header{symlink("own", "was"), file("own/new")}, "dir/ dir/file link new/ new/was own was/ was/new", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			must(t, os.Mkdir(filepath.Join(root, "dir"), 0o700))
			must(t, os.Mkdir(filepath.Join(root, "new"), 0o700))
			for _, name := range []string{"was", "dir/file", "new/was"} {
				must(t, os.WriteFile(filepath.Join(root, name), []byte("below"), 0o600))
			}
			must(t, os.Symlink("dir/file", filepath.Join(root, "link")))
			var warned []string
			layer := archiveOf(t, c.headers...)
			applied, err := Apply(t.Context(), root, bytes.NewReader(layer), ApplyOptions{
				Warn: func(w fault.Warning) { warned = append(warned, w.String()) },
			})
			must(t, err)
			defer applied.Split.Close()
			if got := treeOf(t, root); got != c.want {
				t.Errorf("got the tree %q, want %q", got, c.want)
			}
			if all := strings.Join(warned, "\n"); c.warn != strings.Contains(all, "becomes one") || len(warned) > 1 {
				t.Errorf("got the warnings %q, want one: %t", warned, c.warn)
			}
			replays(t, root, applied, layer)
			if info, err := os.Stat(filepath.Join(root, "was")); err != nil || info.IsDir() && info.Mode().Perm() != 0o755 {
				t.Errorf("got mode %v, %v, want 0755", info.Mode(), err)
			}
		})
	}
}

func treeOf(t *testing.T, root string) string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name := strings.TrimPrefix(p, root+"/")
		if d.IsDir() {
			name += "/"
		}
		names = append(names, name)
		return nil
	}))
	slices.Sort(names)
	return strings.Join(names, " ")
}
