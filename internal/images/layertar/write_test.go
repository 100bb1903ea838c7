package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/need"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// changesOf compares two trees by the properties of describe.
func changesOf(t testing.TB, lower, upper string) Changes {
	was, is := describe(t, lower), describe(t, upper)
	kinds := map[string]Kind{}
	for p, text := range is {
		if old, had := was[p]; !had {
			kinds[p] = Added
		} else if old != text {
			kinds[p] = Modified
		}
	}
	for p := range was {
		_, still := is[p]
		parent := filepath.Dir(p)
		if _, parentStill := is[parent]; !still && parentStill && strings.HasPrefix(is[parent], "d") {
			kinds[p] = Deleted
		}
	}
	var paths []string
	for p := range kinds {
		if p != "/" {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return func(visit func(string, Kind) error) error {
		for _, p := range paths {
			if err := visit(p, kinds[p]); err != nil {
				return err
			}
		}
		return nil
	}
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	run(t, nil, "cp", "-a", from+"/.", to)
}

// restores checks that the lower tree with the layer of the difference is the upper tree,
// and that it is for containerd too, except for times.
func restores(t testing.TB, lower, upper string) []byte {
	t.Helper()
	var layer, again bytes.Buffer
	written, err := Write(t.Context(), upper, changesOf(t, lower, upper), &layer, WriteOptions{})
	must(t, err)
	if _, err := Write(t.Context(), upper, changesOf(t, lower, upper), &again, WriteOptions{}); err != nil || !bytes.Equal(layer.Bytes(), again.Bytes()) {
		t.Errorf("written twice: got other bytes, %v", err)
	}
	ours, theirs := t.TempDir(), t.TempDir()
	copyTree(t, lower, ours)
	copyTree(t, lower, theirs)
	applied := apply(t, ours, layer.Bytes())
	replays(t, ours, applied, layer.Bytes())
	if applied.Size != written.Size || applied.Entries != written.Entries {
		t.Errorf("got %d bytes and %d entries applied, want %+v", applied.Size, applied.Entries, written)
	}
	must(t, sameRootTime(upper, ours))
	sameTree(t, upper, ours)
	_, err = archive.Apply(context.Background(), theirs, bytes.NewReader(layer.Bytes()))
	must(t, err)
	if diff := cmp.Diff(withoutTimes(describe(t, upper)), withoutTimes(describe(t, theirs))); diff != "" {
		t.Errorf("containerd's tree differs (-upper +theirs):\n%s", diff)
	}
	return layer.Bytes()
}

// sameRootTime copies the time of the root, which a layer does not contain.
func sameRootTime(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return setTime(to, info.ModTime())
}

func TestWrite(t *testing.T) {
	need.Root(t)
	lower, upper := t.TempDir(), t.TempDir()
	sampleTree(t, lower)
	copyTree(t, lower, upper)
	at := func(p string) string { return filepath.Join(upper, p) }
	must(t, os.Remove(at("etc/passwd-")))
	must(t, os.RemoveAll(at("öäü")))
	must(t, os.Remove(at("fifo")))
	must(t, os.Mkdir(at("fifo"), 0o711))
	must(t, os.WriteFile(at("fifo/in"), []byte("in"), 0o600))
	must(t, os.RemoveAll(at("deep")))
	must(t, os.WriteFile(at("deep"), []byte("a file now"), 0o600))
	must(t, os.WriteFile(at("new"), bytes.Repeat([]byte("new"), 100_000), 0o2755))
	must(t, unix.Setxattr(at("new"), "user.new", []byte("\x00=\n"), 0))
	must(t, os.Link(at("new"), at("bin/linked")))
	must(t, os.Link(at("bin/mail"), at("also")))
	must(t, unix.Setxattr(at("bin"), "user.changed", []byte("c"), 0))
	must(t, os.Chmod(at("tmp"), 0o1770))
	must(t, unix.Mknod(at("zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	layer := restores(t, lower, upper)
	names := run(t, layer, "tar", "-t")
	for _, want := range []string{"etc/.wh.passwd-\n", "bin/linked\n", "bin/mail\n", "also\n", "fifo/in\n"} {
		if !strings.Contains(string(names), want) {
			t.Errorf("got the entries\n%s\nwant also %q", names, want)
		}
	}
	if strings.Contains(string(names), "sparse") {
		t.Error("got an unchanged file in the layer")
	}
}

// TestWriteAll checks that tar extracts the same tree.
func TestWriteAll(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	sampleTree(t, from)
	var layer bytes.Buffer
	written, err := WriteAll(t.Context(), from, &layer)
	must(t, err)
	ours, theirs := t.TempDir(), t.TempDir()
	applied := apply(t, ours, layer.Bytes())
	if applied.Size != written.Size || applied.Entries != written.Entries {
		t.Errorf("got %+v applied, want %+v", applied, written)
	}
	must(t, sameRootTime(from, ours))
	replays(t, ours, applied, layer.Bytes())
	must(t, sameRootTime(from, ours))
	sameTree(t, from, ours)
	run(t, layer.Bytes(), "tar", "-C", theirs, "-xp", "--xattrs", "--xattrs-include=*", "--numeric-owner")
	must(t, sameRootTime(from, theirs))
	sameTree(t, from, theirs)
	for in := tar.NewReader(&layer); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if strings.HasPrefix(h.Name, ".") || strings.HasPrefix(h.Name, "/") || h.Uname != "" || !h.AccessTime.IsZero() {
			t.Errorf("got the header %+v", h)
		}
	}
}

func TestUnwritable(t *testing.T) {
	need.Root(t)
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, ".wh.file"), nil, 0o644))
	_, err := WriteAll(t.Context(), root, io.Discard)
	refused(t, err, ErrUnwritable, "/.wh.file")

	_, err = Write(t.Context(), root, func(visit func(string, Kind) error) error { return visit("/gone", Added) }, io.Discard, WriteOptions{})
	refused(t, err, os.ErrNotExist, "/gone")

	full := fmt.Errorf("disk full")
	sampleTree(t, root)
	must(t, os.Remove(filepath.Join(root, ".wh.file")))
	if _, err = WriteAll(t.Context(), root, refusing{full}); !errors.Is(err, full) {
		t.Errorf("got %v, want the error of the writer", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(full)
	if _, err = WriteAll(ctx, root, io.Discard); !errors.Is(err, full) {
		t.Errorf("got %v, want the cause of the context", err)
	}
}

type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }

func TestWriteDoesNotReadHoles(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "big"))
	must(t, err)
	must(t, f.Truncate(4<<30))
	must(t, f.Close())
	began := bytesRead(t)
	written, err := WriteAll(t.Context(), root, io.Discard)
	must(t, err)
	if written.Size != 4<<30 {
		t.Errorf("got %d bytes, want 4 GiB", written.Size)
	}
	// A read of the hole would add 4 GiB to rchar.
	if read := bytesRead(t) - began; read > 64<<20 {
		t.Errorf("got %d bytes read, want no read of the hole", read)
	}
}

// bytesRead returns the number of bytes that this process has read.
func bytesRead(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	must(t, err)
	var n int64
	_, err = fmt.Sscanf(string(b), "rchar: %d", &n)
	must(t, err)
	return n
}

func TestReplayNamesWhatChanged(t *testing.T) {
	need.Root(t)
	layer := archiveOf(t, directoryOf("d/"), file("d/a"), tar.Header{Name: "d/b", Size: 200_000}, file("c"))
	tests := []struct {
		name   string
		change func(file string) error
	}{
		{"missing", os.Remove},
		{"shorter", func(f string) error { return os.Truncate(f, 10) }},
		{"longer", func(f string) error { return os.Truncate(f, 1<<20) }},
		{"other contents", func(f string) error { return os.WriteFile(f, bytes.Repeat([]byte("y"), 200_000), 0) }},
		{"a fifo", func(f string) error { os.Remove(f); return unix.Mkfifo(f, 0o600) }},
		{"a directory", func(f string) error { os.Remove(f); return os.Mkdir(f, 0o700) }},
		{"a link out", func(f string) error { os.Remove(f); return os.Symlink("/etc/passwd", f) }},
		{"its directory a link out", func(f string) error { os.RemoveAll(filepath.Dir(f)); return os.Symlink("/etc", filepath.Dir(f)) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			applied := apply(t, root, layer)
			must(t, test.change(filepath.Join(root, "d/b")))
			entry := "d/b"
			if strings.Contains(test.name, "its directory") {
				entry = "d/a"
			}
			refused(t, Replay(t.Context(), root, applied.Split.Reader(), io.Discard, ""), ErrChanged, entry)
		})
	}
	root := t.TempDir()
	applied := apply(t, root, layer)
	full := fmt.Errorf("disk full")
	if err := Replay(t.Context(), root, applied.Split.Reader(), refusing{full}, ""); !errors.Is(err, full) {
		t.Errorf("got %v, want the error of the writer", err)
	}
	split := splitOf(t, applied)
	for n := range len(split) {
		if err := Replay(t.Context(), root, bytes.NewReader(split[:n]), io.Discard, ""); err == nil {
			t.Fatalf("a split of %d bytes instead of %d: got no error", n, len(split))
		}
	}
}

// TestRandomTrees writes and applies the changes of random trees.
func TestRandomTrees(t *testing.T) {
	need.Root(t)
	for range 24 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			lower, upper := t.TempDir(), t.TempDir()
			g := &treeEditor{t: t, root: lower, random: rand.New(rand.NewPCG(seed, 4))}
			g.work(30)
			must(t, setTime(lower, time.Unix(5, 5)))
			copyTree(t, lower, upper)
			g.root = upper
			g.work(12)
			must(t, sameRootTime(lower, upper))
			restores(t, lower, upper)
			layer := run(t, nil, "tar", append(append([]string{"-C", upper, "-cS", "--format=posix"}, everything...), ".")...)
			to := t.TempDir()
			applied := apply(t, to, layer)
			sameTree(t, upper, to)
			replays(t, to, applied, layer)
		})
	}
}

// treeEditor changes a tree at random.
type treeEditor struct {
	t      testing.TB
	root   string
	random *rand.Rand
	clock  int64
}

func (g *treeEditor) work(steps int) {
	for range steps {
		g.step()
	}
}

func (g *treeEditor) step() {
	parts := []string{"a", "b", "ü", "long-" + strings.Repeat("x", 120)}
	p := g.root
	for range 1 + g.random.IntN(3) {
		if info, err := os.Lstat(p); err != nil || !info.IsDir() {
			os.RemoveAll(p)
			must(g.t, os.Mkdir(p, 0o755))
		}
		p = filepath.Join(p, parts[g.random.IntN(len(parts))])
	}
	kind := g.random.IntN(10)
	if kind < 7 {
		os.RemoveAll(p)
	}
	switch kind {
	case 0:
		must(g.t, os.Mkdir(p, os.FileMode(g.random.IntN(0o1000))))
	case 1:
		must(g.t, os.Symlink(parts[g.random.IntN(len(parts))], p))
	case 2:
		must(g.t, unix.Mknod(p, unix.S_IFCHR, int(unix.Mkdev(uint32(g.random.IntN(4096)), uint32(g.random.IntN(1<<20))))))
	case 3, 4, 5:
		b := make([]byte, g.random.IntN(300_000))
		for i := range b[:len(b)/2] {
			b[i] = byte(g.random.Int())
		}
		must(g.t, os.WriteFile(p, b, 0o644))
		must(g.t, os.Chmod(p, os.FileMode(g.random.IntN(0o1000))|os.ModeSetuid))
	case 6: // removed
	case 7:
		g.hardLink(p)
	case 8:
		if os.Lchown(p, g.random.IntN(70000), 5) != nil {
			return
		}
	case 9:
		// Not for directories: a layer cannot remove an attribute from one.
		if info, err := os.Lstat(p); err != nil || !info.Mode().IsRegular() || unix.Setxattr(p, "user.x", []byte{byte(g.random.Int()), 0}, 0) != nil {
			return
		}
	}
	g.clock++
	must(g.t, filepath.WalkDir(g.root, func(q string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(p, q) && err == nil {
			return setTime(q, time.Unix(1_000_000_000+g.clock, g.random.Int64N(1_000_000_000)))
		}
		return err
	}))
}

// hardLink adds a name to a regular file.
func (g *treeEditor) hardLink(p string) {
	if _, err := os.Lstat(p); err == nil {
		return
	}
	var files []string
	must(g.t, filepath.WalkDir(g.root, func(q string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, q)
		}
		return err
	}))
	if len(files) > 0 {
		must(g.t, os.Link(files[g.random.IntN(len(files))], p))
	}
}
