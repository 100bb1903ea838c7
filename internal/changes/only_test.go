package changes

import (
	"os"
	"strings"
	"testing"

	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// pathsOf returns the paths of lines such as "A /etc/hosts".
func pathsOf(lines []string) Names {
	all := Names{}
	for _, line := range lines {
		at := all
		for name := range strings.SplitSeq(line[len("A /"):], "/") {
			if at[name] == nil {
				at[name] = Names{}
			}
			at = at[name]
		}
	}
	return all
}

func TestOnly(t *testing.T) {
	twins := newTwins(t, filesystem.Ext4, 64*units.MiB, func(root string) {
		must(t, os.MkdirAll(root+"/same/below", 0o755), os.MkdirAll(root+"/other/below", 0o755), os.MkdirAll(root+"/gone/below", 0o755))
		write(t, root+"/same/below/file", "")
		write(t, root+"/other/below/file", "")
		write(t, root+"/other/below/kept", "")
		write(t, root+"/became", "")
	})
	root := twins.upper
	// The directory other gets a new inode, and keeps one of its files.
	must(t, os.Rename(root+"/other", root+"/away"), os.MkdirAll(root+"/other/below", 0o755),
		os.Rename(root+"/away/below/kept", root+"/other/below/kept"), os.RemoveAll(root+"/away"),
		os.Remove(root+"/became"), os.MkdirAll(root+"/became/a/b", 0o755), os.RemoveAll(root+"/gone"),
		os.MkdirAll(root+"/new/a", 0o755), os.Chmod(root+"/same/below", 0o700))
	write(t, root+"/same/below/file", "changed")
	rest := []string{"C /became", "A /became/a", "A /became/a/b", "D /gone", "A /new", "A /new/a",
		"C /other", "C /other/below", "D /other/below/file"}
	for _, tt := range []struct {
		name  string
		paths []string // each after a letter
		want  []string
	}{
		{"nothing", nil, nil},
		{"all", []string{"/became", "/gone", "/new", "/other", "/same/below/file"},
			append(rest[:len(rest):len(rest)], "C /same", "C /same/below", "C /same/below/file")},
		{"a directory without its contents", []string{"/same/below"}, []string{"C /same", "C /same/below"}},
		{"paths below other inodes", []string{"/became/x", "/gone/x", "/new/x/y", "/other/x"}, rest},
		{"paths that do not exist", []string{"/x/y", "/same/x"}, nil},
	} {
		for i, path := range tt.paths {
			tt.paths[i] = "C " + path
		}
		for _, o := range []Options{{SameOrigin: true}, {SameOrigin: true, Exact: true, Workers: 1}, {}} {
			o.Only = pathsOf(tt.paths)
			got, _ := walkLines(t, twins.lower, twins.upper, o)
			wantLines(t, tt.name, got, tt.want)
		}
	}
	all, _ := walkLines(t, "", twins.upper, Options{})
	got, _ := walkLines(t, "", twins.upper, Options{Only: Names{}})
	wantLines(t, "with an empty lower tree", got, all)
}

// A directory of the lower tree is removed while it is compared: all of the upper one is
// added, also the names that are not to be compared.
func TestOnlyVanished(t *testing.T) {
	twins := newTwins(t, filesystem.Ext4, 64*units.MiB, func(root string) {
		must(t, os.Mkdir(root+"/d", 0o755))
		write(t, root+"/d/a", "")
		write(t, root+"/d/b", "")
	})
	got := steppedLines(t, twins.lower, twins.upper, func(w *walk) {
		w.options = Options{SameOrigin: true, Only: Names{"d": {"a": nil}}}
	}, func() { must(t, os.RemoveAll(twins.lower+"/d")) })
	wantLines(t, "changes", got, []string{"A /d", "A /d/a", "A /d/b"})
}
