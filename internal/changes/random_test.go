package changes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/treetest"
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
			g := &treetest.Generator{T: t, Random: random, Root: tree(root, i)}
			must(t, os.Mkdir(g.Root, 0o755))
			for range 5 + random.IntN(40) {
				g.Create()
			}
		}
	})
	visited := 0
	for i := range trees {
		lower, upper := tree(twins.lower, i), tree(twins.upper, i)
		g := &treetest.Generator{T: t, Random: random, Root: upper}
		for range random.IntN(12) {
			g.Change()
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
		for _, o := range []Options{{SameOrigin: true}, {SameOrigin: true, Exact: true}} {
			all, _ := walkLines(t, lower, upper, o)
			o.Only = pathsOf(all)
			got, _ := walkLines(t, lower, upper, o)
			wantLines(t, fmt.Sprintf("tree %d, only the changes, exact %t", i, o.Exact), got, all)
		}
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
