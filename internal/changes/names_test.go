package changes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

func TestNames(t *testing.T) {
	names := []string{"new\nline", "\xff\xfe not UTF-8", "\x01", " ", "-rf", "a\\b", "...", "*", strings.Repeat("n", 255), strings.Repeat("\xc3", 255)}
	twins := newTwins(t, filesystem.Ext4, 64*units.MiB, func(root string) {
		for _, name := range names {
			must(t, os.Mkdir(filepath.Join(root, name), 0o755))
			write(t, filepath.Join(root, name, "gone"), "")
			write(t, filepath.Join(root, name, "same"), "")
		}
	})
	want := []string{"D /lost+found"}
	must(t, os.Remove(twins.upper+"/lost+found"))
	for _, name := range names {
		must(t, os.Remove(filepath.Join(twins.upper, name, "gone")))
		write(t, filepath.Join(twins.upper, name, name), "")
		want = append(want, "C /"+name, "A /"+name+"/"+name, "D /"+name+"/gone")
	}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	got, _ := walkLines(t, twins.lower, twins.upper, Options{SameOrigin: true})
	wantLines(t, "odd names", got, want)
	wantLines(t, "the plain comparison", oracle(t, twins.lower, twins.upper), want)
}

// deep makes nested directories, levels deep, and file in the last.
func deep(t *testing.T, root, name string, levels int, file string) {
	t.Helper()
	at, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range levels {
		if err := unix.Mkdirat(at, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err, unix.Close(at))
		at = next
	}
	fd, err := unix.Openat(at, file, unix.O_CREAT|unix.O_WRONLY, 0o644)
	must(t, err, unix.Close(fd), unix.Close(at))
}

func TestDeepTrees(t *testing.T) {
	long := strings.Repeat("l", 255)
	trees := []struct {
		name   string
		levels int
	}{{long, 40}, {"d", 5000}, {long, 300}, {long[:100], 1000}}
	root := func(side string, i int) string { return filepath.Join(side, fmt.Sprint(i)) }
	twins := newTwins(t, filesystem.Ext4, 256*units.MiB, func(side string) {
		for i, tree := range trees {
			must(t, os.Mkdir(root(side, i), 0o755))
			deep(t, root(side, i), tree.name, tree.levels, "old")
		}
	})
	for i, tree := range trees {
		t.Run(fmt.Sprintf("%d levels of %d bytes", tree.levels, len(tree.name)), func(t *testing.T) {
			lower, upper := root(twins.lower, i), root(twins.upper, i)
			unchanged, _ := walkLines(t, lower, upper, Options{SameOrigin: true})
			wantLines(t, "unchanged", unchanged, nil)
			deep(t, upper, tree.name, tree.levels, "new")
			bottom := strings.Repeat("/"+tree.name, tree.levels)
			for _, careful := range []bool{false, true} {
				got := steppedLines(t, lower, upper, func(w *walk) {
					w.trees[inLower].stepwise, w.trees[inUpper].stepwise = careful, careful
				}, nil)
				expectDeep(t, got, "C", tree.name, tree.levels, "A "+bottom+"/new")
			}
			var most openFiles
			got, _ := walkLines(t, lower, upper, Options{Exclude: most.count})
			expectDeep(t, got, "C", tree.name, tree.levels, "A "+bottom+"/new")
			if before := openNow(); most.most > before+2*(len(openedDirs{})+2)*(Options{}).workers() {
				t.Errorf("got %d files open at once, with %d open afterwards; want fewer", most.most, before)
			}
			got, _ = walkLines(t, "", upper, Options{})
			expectDeep(t, got, "A", tree.name, tree.levels, "A "+bottom+"/new", "A "+bottom+"/old")
		})
	}
}

func expectDeep(t *testing.T, got []string, letter, name string, levels int, last ...string) {
	t.Helper()
	if len(got) != levels+len(last) {
		t.Fatalf("got %d changes, want %d and %d", len(got), levels, len(last))
	}
	path := ""
	for i, line := range got[:levels] {
		path += "/" + name
		if line != letter+" "+path {
			t.Fatalf("level %d: %.300q", i, line)
		}
	}
	if !slices.Equal(got[levels:], last) {
		t.Errorf("at the bottom: got %.300q, want %.300q", got[levels:], last)
	}
}

// openFiles counts the open descriptors of the process at each call.
type openFiles struct {
	mu   sync.Mutex
	most int
}

func (o *openFiles) count(string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.most = max(o.most, openNow())
	return false
}

func openNow() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func TestLargeDirectory(t *testing.T) {
	const files = 100_000
	both := memory(t)
	lower, upper := both+"/lower", both+"/upper"
	must(t, os.Mkdir(lower, 0o755), os.Mkdir(upper, 0o755))
	for i := range files {
		name := fmt.Sprintf("/file-%d", i)
		write(t, lower+name, "")
		must(t, os.Link(lower+name, upper+name))
	}
	got, _ := walkLines(t, lower, upper, Options{})
	wantLines(t, "unchanged", got, nil)
	must(t, os.Remove(upper+"/file-5"), os.Remove(upper+"/file-99999"))
	write(t, upper+"/file-99999", "changed")
	write(t, upper+"/file-100000", "more")
	got, total := walkLines(t, lower, upper, Options{})
	wantLines(t, "three", got, []string{"A /file-100000", "D /file-5", "C /file-99999"})
	if total.Added != 1 || total.Deleted != 1 || total.Modified != 1 || total.Size != 11 {
		t.Errorf("got the total %+v, want one of each kind and 11 bytes", total)
	}
	got, total = walkLines(t, "", upper, Options{})
	if len(got) != files || total.Added != files {
		t.Errorf("with an empty lower tree: got %d changes, total %+v, want %d", len(got), total, files)
	}
}
