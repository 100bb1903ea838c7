package changes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// TestVanishedDirectories changes a directory after its parent was listed, and before the
// directory itself is.
func TestVanishedDirectories(t *testing.T) {
	need.Root(t)
	dirWithFile := func(d string) error {
		return errors.Join(os.Mkdir(d, 0o700), os.WriteFile(d+"/f", nil, 0o600))
	}
	tests := []struct {
		name         string
		lower, upper func(d string) error // nil: nothing is there
		between      func(lower, upper string) error
		want         []string
	}{
		{"unchanged, removed", dirWithFile, dirWithFile, func(_, d string) error { return os.RemoveAll(d) }, []string{"D /d"}},
		{"added, removed", nil, dirWithFile, func(_, d string) error { return os.RemoveAll(d) }, nil},
		{"of a file, removed", func(d string) error { return os.WriteFile(d, nil, 0o600) }, dirWithFile,
			func(_, d string) error { return os.RemoveAll(d) }, []string{"D /d"}},
		{"swapped for a link", dirWithFile, dirWithFile,
			func(_, d string) error { return errors.Join(os.RemoveAll(d), os.Symlink("/etc", d)) }, []string{"D /d"}},
		{"swapped for a file", nil, dirWithFile,
			func(_, d string) error { return errors.Join(os.RemoveAll(d), os.WriteFile(d, nil, 0o600)) }, nil},
		{"lower removed", dirWithFile, dirWithFile, func(d, _ string) error { return os.RemoveAll(d) }, []string{"A /d", "A /d/f"}},
		{"both removed", dirWithFile, dirWithFile, func(a, b string) error { return errors.Join(os.RemoveAll(a), os.RemoveAll(b)) }, nil},
		{"file and its directory removed", func(d string) error { return os.WriteFile(d, nil, 0o600) }, dirWithFile,
			func(a, b string) error { return errors.Join(os.RemoveAll(a), os.RemoveAll(b)) }, nil},
		{"mounted over", dirWithFile, dirWithFile, func(_, d string) error {
			return errors.Join(os.Remove(d+"/f"), unix.Mount("none", d, "tmpfs", 0, ""), os.WriteFile(d+"/inside", nil, 0o600))
		}, nil},
	}
	for _, tt := range tests {
		for _, careful := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, careful %t", tt.name, careful), func(t *testing.T) {
				lower, upper := t.TempDir(), t.TempDir()
				if tt.lower != nil {
					must(t, tt.lower(lower+"/d"))
				}
				must(t, tt.upper(upper+"/d"))
				when := time.Unix(1_600_000_000, 0)
				for _, root := range []string{lower, upper} {
					if _, err := os.Lstat(root + "/d/f"); err == nil {
						touch(t, root+"/d/f", when)
					}
				}
				unmountAfter(t, upper+"/d")
				set := func(w *walk) { w.trees[inLower].stepwise, w.trees[inUpper].stepwise = careful, careful }
				got := steppedLines(t, lower, upper, set, func() { must(t, tt.between(lower+"/d", upper+"/d")) })
				wantLines(t, "changes", got, tt.want)
			})
		}
	}
}

// An entry is removed between the listing of its directory and its stat.
func TestVanishedEntries(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, name := range []string{"/kept", "/gone"} {
		write(t, lower+name, "")
		must(t, os.Link(lower+name, upper+name))
	}
	write(t, upper+"/brief", "")
	got, _ := walkLines(t, lower, upper, Options{Workers: 1, Exclude: func(path string) bool {
		if path == "/gone" || path == "/brief" {
			must(t, os.Remove(upper+path))
		}
		return false
	}})
	wantLines(t, "changes", got, []string{"D /gone"})
}

// A container changes its tree during the walk, and tries to lead the walk out of it.
func TestLiveTree(t *testing.T) {
	outside := t.TempDir()
	must(t, os.MkdirAll(outside+"/secret/secret", 0o755))
	write(t, outside+"/secret/secret/secret", "")
	names := []string{"a", "b", "c", "d"}
	twins := newTwins(t, filesystem.Ext4, 64*units.MiB, func(root string) {
		for _, a := range names {
			for _, b := range names {
				must(t, os.MkdirAll(filepath.Join(root, a, b, "c", "d"), 0o755))
				write(t, filepath.Join(root, a, b, "c", "f"), "")
			}
		}
	})
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			name := func() string { return names[rand.IntN(len(names))] }
			for ctx.Err() == nil {
				path := filepath.Join(twins.upper, name(), name())
				if rand.IntN(2) == 0 {
					path = filepath.Join(path, name())
				}
				// A call fails if the other goroutine was first.
				switch rand.IntN(5) {
				case 0:
					os.RemoveAll(path)
				case 1:
					os.MkdirAll(filepath.Join(path, "c", "d"), 0o755)
				case 2:
					os.Rename(path, filepath.Join(twins.upper, name(), name()))
				case 3:
					if os.Rename(path, path+".aside") == nil {
						os.Symlink(outside+"/secret", path)
					}
				case 4:
					os.Remove(path)
					os.RemoveAll(path + ".aside")
					os.WriteFile(path, nil, 0o600)
				}
			}
		})
	}
	walks := 0
	for ; ctx.Err() == nil && !t.Failed(); walks++ {
		var last string
		visited := map[string]Kind{}
		err := Walk(t.Context(), twins.lower, twins.upper, Options{SameOrigin: true, Exact: walks%2 == 0}, func(c Change) error {
			if strings.Contains(c.Path, "secret") {
				t.Errorf("got the change %s, from outside of the tree", c)
			}
			if c.Path <= last {
				t.Errorf("got %s after %s, want the order of paths", c, last)
			}
			last, visited[c.Path] = c.Path, c.Kind
			if parent := filepath.Dir(c.Path); parent != "/" {
				above, there := visited[parent]
				if !there || above == Deleted || above == Added && c.Kind != Added {
					t.Errorf("got %s in a directory of kind %q", c, above)
				}
			}
			return nil
		})
		must(t, err)
	}
	stop()
	busy.Wait()
	t.Logf("%d walks", walks)
	got, _ := walkLines(t, twins.lower, twins.upper, Options{SameOrigin: true})
	wantLines(t, "when all is quiet", got, oracle(t, twins.lower, twins.upper))
}

func TestMountPoints(t *testing.T) {
	need.Root(t)
	lower, upper := t.TempDir(), t.TempDir()
	for _, root := range []string{lower, upper} {
		must(t, os.Mkdir(root+"/tmpfs", 0o755), os.Mkdir(root+"/bind", 0o755), os.Mkdir(root+"/both", 0o755), os.Mkdir(root+"/plain", 0o755))
		write(t, root+"/file", "")
		touch(t, root+"/file", time.Unix(1_600_000_000, 0))
	}
	write(t, lower+"/tmpfs/below", "")
	write(t, lower+"/was-file", "")
	must(t, os.MkdirAll(upper+"/was-file", 0o755), os.Mkdir(upper+"/new", 0o755))
	write(t, upper+"/plain/f", "a")
	mountAt := func(source, target, kind string, flags uintptr) {
		must(t, unix.Mount(source, target, kind, flags, ""))
		unmountAfter(t, target)
	}
	for _, target := range []string{upper + "/tmpfs", upper + "/new", upper + "/was-file", lower + "/both", upper + "/both"} {
		mountAt("none", target, "tmpfs", 0)
		write(t, target+"/inside", "x")
	}
	mountAt(upper+"/plain", upper+"/bind", "", unix.MS_BIND)
	mountAt(upper+"/plain/f", upper+"/file", "", unix.MS_BIND)
	want := []string{"A /new", "C /plain", "A /plain/f", "C /was-file"}
	for _, o := range []Options{{}, {Exact: true}} {
		got, total := walkLines(t, lower, upper, o)
		wantLines(t, "changes", got, want)
		if total.Size != 1 {
			t.Errorf("got the size %d, want 1", total.Size)
		}
	}
}
