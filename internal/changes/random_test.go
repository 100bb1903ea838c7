package changes

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// TestRandomChanges changes hundreds of trees of one file system at random. It compares
// the walk with the oracle, with find(1) for added and deleted entries, and with
// diff(1) for files that differ.
func TestRandomChanges(t *testing.T) {
	const trees = 300
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("THINCTL_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		must(t, err)
	}
	t.Logf("THINCTL_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tree := func(root string, i int) string { return filepath.Join(root, fmt.Sprint(i)) }
	twins := newTwins(t, filesystem.Ext4, 256*units.MiB, func(root string) {
		for i := range trees {
			g := &generator{t, random, tree(root, i)}
			must(t, os.Mkdir(g.root, 0o755))
			for range 5 + random.IntN(40) {
				g.create()
			}
		}
	})
	visited := 0
	for i := range trees {
		lower, upper := tree(twins.lower, i), tree(twins.upper, i)
		g := &generator{t, random, upper}
		for range random.IntN(12) {
			g.change()
		}
		want := oracle(t, lower, upper)
		for _, o := range []Options{{SameOrigin: true}, {}, {SameOrigin: true, Workers: 1}, {Workers: 16}} {
			got, total := walkLines(t, lower, upper, o)
			wantLines(t, fmt.Sprintf("tree %d, %+v", i, o), got, want)
			if want := dockerSize(t, upper, want); int64(total.Size) != want {
				t.Errorf("tree %d: got the size %d, want Docker's %d", i, total.Size, want)
			}
		}
		exact, _ := walkLines(t, lower, upper, Options{SameOrigin: true, Exact: true})
		slow, _ := walkLines(t, lower, upper, Options{Exact: true})
		wantLines(t, fmt.Sprintf("tree %d, exact, with and without one origin", i), exact, slow)
		agreesWithFind(t, lower, upper, want)
		agreesWithDiff(t, lower, upper, exact)
		if t.Failed() {
			t.Fatalf("tree %d of seed %d", i, seed)
		}
		visited += len(want)
	}
	t.Logf("%d trees, %d changes", trees, visited)
	if visited < 5*trees {
		t.Errorf("got %d changes, want %d or more", visited, 5*trees)
	}
	got := steppedLines(t, twins.lower, twins.upper, func(w *walk) {
		w.trees[inLower].stepwise, w.trees[inUpper].stepwise = true, true
	}, nil)
	wantLines(t, "all, without openat2", got, oracle(t, twins.lower, twins.upper))
	// An image and a copy of it have no inode in common.
	copied := filepath.Join(t.TempDir(), "copy")
	run(t, "cp", "-a", twins.upper, copied)
	got, _ = walkLines(t, twins.lower, copied, Options{})
	wantLines(t, "all in a copy", got, oracle(t, twins.lower, copied))
}

// agreesWithFind compares the As and Ds with two listings by find.
func agreesWithFind(t *testing.T, lower, upper string, lines []string) {
	t.Helper()
	list := func(root string) map[string]bool {
		all := map[string]bool{}
		for path := range strings.SplitSeq(run(t, "find", root, "-mindepth", "1", "-printf", `/%P\0`), "\x00") {
			if path != "" {
				all[path] = true
			}
		}
		return all
	}
	before, after := list(lower), list(upper)
	var added, deleted []string
	for path := range after {
		if !before[path] {
			added = append(added, "A "+path)
		}
	}
	for path := range before {
		// Only the top, and nothing if a file has replaced the directory.
		if parent := filepath.Dir(path); !after[path] && (parent == "/" || after[parent] && isDir(upper+parent)) {
			deleted = append(deleted, "D "+path)
		}
	}
	of := func(kind string) (some []string) {
		for _, line := range lines {
			if strings.HasPrefix(line, kind) {
				some = append(some, line)
			}
		}
		slices.Sort(some)
		return some
	}
	slices.Sort(added)
	slices.Sort(deleted)
	wantLines(t, "find's additions", of("A"), added)
	wantLines(t, "find's deletions", of("D"), deleted)
}

// agreesWithDiff checks that lines have all files that differ according to diff.
func agreesWithDiff(t *testing.T, lower, upper string, lines []string) {
	t.Helper()
	command := exec.Command("diff", "-rq", "--no-dereference", lower, upper)
	command.Env = append(os.Environ(), "LC_ALL=C")
	output, err := command.CombinedOutput()
	if command.ProcessState == nil || command.ProcessState.ExitCode() > 1 {
		t.Fatalf("diff: %v: %s", err, output)
	}
	if err == nil && slices.ContainsFunc(lines, func(line string) bool { return line[0] != 'C' }) {
		t.Errorf("got the changes %q, and diff finds none", lines)
	}
	for line := range strings.SplitSeq(string(output), "\n") {
		var path string
		switch rest, isOne := strings.CutPrefix(line, "Only in "); {
		case line == "" || sameSpecial(line):
			continue
		case isOne:
			directory, name, _ := strings.Cut(rest, ": ")
			path = strings.TrimPrefix(strings.TrimPrefix(directory, lower), upper) + "/" + name
		default: // Files A and B differ; Symbolic links A and B differ; File A is a .. while file B is a ..
			_, rest, _ := strings.Cut(line, lower)
			path, _, _ = strings.Cut(rest, " ")
		}
		// In a directory that one tree does not have, diff shows only the top.
		if !slices.ContainsFunc(lines, func(line string) bool { return line[2:] == path }) {
			t.Errorf("got the changes %q, want %q of diff too", lines, line)
		}
	}
}

// sameSpecial is the line of diff for two pipes, sockets or device nodes, equal or not.
func sameSpecial(line string) bool {
	before, after, both := strings.Cut(line, " while file ")
	_, was, _ := strings.Cut(before, " is a ")
	_, is, _ := strings.Cut(after, " is a ")
	return both && was == is
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// generator changes the tree below root at random.
type generator struct {
	t    *testing.T
	r    *rand.Rand
	root string
}

// all lists the entries of the tree, or those for which only returns true.
func (g *generator) all(want func(fs.DirEntry) bool) []string {
	var paths []string
	must(g.t, filepath.WalkDir(g.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && path != g.root && want(e) {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

func (g *generator) pick(want func(fs.DirEntry) bool) string {
	if paths := g.all(want); len(paths) > 0 {
		return paths[g.r.IntN(len(paths))]
	}
	return ""
}

func anything(fs.DirEntry) bool       { return true }
func regular(e fs.DirEntry) bool      { return e.Type().IsRegular() }
func directories(e fs.DirEntry) bool  { return e.IsDir() }
func attributable(e fs.DirEntry) bool { return e.IsDir() || e.Type().IsRegular() }
func (g *generator) oneIn(n int) bool { return g.r.IntN(n) == 0 }
func (g *generator) content() []byte  { return []byte(strings.Repeat("x", g.r.IntN(9000))) }
func (g *generator) moment() time.Time {
	return time.Unix(1_500_000_000+g.r.Int64N(3), g.r.Int64N(2)*5000)
}

// fresh returns a path that does not exist. Names are few and have common prefixes, so
// that they collide and their order matters.
func (g *generator) fresh() string {
	for range 20 {
		parent := g.root
		if !g.oneIn(3) {
			parent = cmpOr(g.pick(directories), g.root)
		}
		names := []string{"a", "a-b", "a.b", "a0", "a-", "b", "B", "ab", ".wh.a", "\u00e4", "a!", "~", "c", "d", "e"}
		path := filepath.Join(parent, names[g.r.IntN(len(names))])
		if _, err := os.Lstat(path); err != nil && len(path) < 400 {
			return path
		}
	}
	return filepath.Join(g.root, fmt.Sprint(g.r.Uint64()))
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (g *generator) create() {
	path := g.fresh()
	switch g.r.IntN(12) {
	case 0, 1, 2, 3:
		must(g.t, os.Mkdir(path, 0o700|fs.FileMode(g.r.IntN(0o100))))
	case 4:
		must(g.t, os.Symlink([]string{"a", "b", "/", "..", "/etc/passwd"}[g.r.IntN(5)], path))
	case 5:
		must(g.t, unix.Mkfifo(path, 0o600))
	case 6:
		must(g.t, unix.Mknod(path, unix.S_IFCHR|0o600, 0x100+g.r.IntN(9)))
	case 7:
		if target := g.pick(regular); target != "" {
			must(g.t, os.Link(target, path))
		}
	default:
		must(g.t, os.WriteFile(path, g.content(), 0o600|fs.FileMode(g.r.IntN(0o100))))
	}
	if info, err := os.Lstat(path); err == nil && !info.IsDir() && g.oneIn(4) {
		touch(g.t, path, g.moment())
	}
}

func (g *generator) change() {
	path := g.pick(anything)
	if path == "" {
		g.create()
		return
	}
	info, err := os.Lstat(path)
	must(g.t, err)
	link := info.Mode()&fs.ModeSymlink != 0
	switch g.r.IntN(14) {
	case 0:
		must(g.t, os.RemoveAll(path))
	case 1: // another kind of thing may take its place
		must(g.t, os.RemoveAll(path))
		g.create()
	case 2:
		must(g.t, os.RemoveAll(path), os.Mkdir(path, 0o755))
	case 3:
		must(g.t, os.RemoveAll(path), os.WriteFile(path, g.content(), 0o644))
	case 4:
		if to := g.fresh(); !strings.HasPrefix(to, path+"/") {
			must(g.t, os.Rename(path, to))
		}
	case 5:
		touch(g.t, path, g.moment())
	case 6:
		if !link {
			must(g.t, os.Chmod(path, 0o600|fs.FileMode(g.r.IntN(0o100))))
		}
	case 7:
		must(g.t, os.Lchown(path, g.r.IntN(2), g.r.IntN(2)))
	case 8:
		if path := g.pick(attributable); path != "" {
			must(g.t, unix.Setxattr(path, "user.a", g.content()[:0], 0))
		}
	case 9:
		if path := g.pick(regular); path != "" {
			value := []byte{0, 0, 0, 2, byte(g.r.IntN(2)), 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
			must(g.t, unix.Setxattr(path, capability, value, 0))
		}
	case 10, 11:
		if path := g.pick(regular); path != "" {
			must(g.t, os.WriteFile(path, g.content(), 0))
			if g.oneIn(3) {
				touch(g.t, path, g.moment())
			}
		}
	default:
		g.create()
	}
}
