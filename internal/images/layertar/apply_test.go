package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/need"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"golang.org/x/sys/unix"
)

// run runs a program that the tests need.
func run(t testing.TB, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(need.Program(t, name), args...)
	var out, complaint bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(stdin), &out, &complaint
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, complaint.String())
	}
	return out.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sampleTree makes a tree with everything that a layer can contain.
func sampleTree(t testing.TB, root string) {
	t.Helper()
	at := func(p string) string { return filepath.Join(root, p) }
	file := func(p string, b []byte, mode os.FileMode) {
		must(t, os.MkdirAll(filepath.Dir(at(p)), 0o755))
		must(t, os.WriteFile(at(p), b, 0o600))
		must(t, os.Chmod(at(p), mode))
	}
	file("etc/passwd", []byte("root:x:0:0\n"), 0o644)
	file("bin/su", bytes.Repeat([]byte("su"), 40_000), 0o755|os.ModeSetuid)
	file("bin/mail", []byte("m"), 0o755|os.ModeSetgid)
	file("empty", nil, 0o400)
	file("bytes \xff\xfe", []byte("no utf-8"), 0o644)
	file("line\nbreak", []byte("x"), 0o644)
	file("öäü/"+strings.Repeat("n", 200)+"/"+strings.Repeat("o", 255), []byte("long"), 0o644)
	deep := strings.Repeat("deep/", 60) + "end"
	file(deep, []byte("deep"), 0o644)
	must(t, os.Mkdir(at("tmp"), 0o700))
	must(t, os.Chmod(at("tmp"), 0o777|os.ModeSticky))
	must(t, os.Link(at("etc/passwd"), at("etc/passwd-")))
	must(t, os.Link(at("etc/passwd"), at("bin/hard")))
	must(t, os.Link(at("bin/mail"), at("bin/mailx")))
	must(t, os.Symlink("/etc/passwd", at("absolute")))
	must(t, os.Link(at("absolute"), at("hardlinked-link")))
	must(t, os.Symlink("../../../../etc/passwd", at("bin/relative")))
	must(t, os.Symlink(strings.Repeat("t", 300), at("dangling")))
	must(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
	must(t, unix.Mkfifo(at("fifo"), 0o640))
	must(t, os.Chown(at("etc/passwd"), 1000, 70000))
	must(t, os.Chown(at("bin/su"), 0, 4_000_000_000))
	must(t, os.Chmod(at("bin/su"), 0o755|os.ModeSetuid))
	must(t, os.Lchown(at("absolute"), 12, 13))
	must(t, unix.Setxattr(at("bin/mail"), "security.capability", capNetRaw, 0))
	must(t, unix.Setxattr(at("empty"), "user.note", []byte("a\x00b"), 0))
	must(t, unix.Setxattr(at("tmp"), "user.dir", []byte("d"), 0))
	sparse, err := os.Create(at("sparse"))
	must(t, err)
	_, err = sparse.WriteAt(bytes.Repeat([]byte("A"), 100_000), 3<<20)
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 9<<20+17)
	must(t, err)
	must(t, sparse.Truncate(12<<20+5))
	must(t, sparse.Close())
	when := time.Unix(1_234_567_890, 123_456_789)
	must(t, filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		when = when.Add(time.Second + time.Nanosecond)
		return setTime(p, when)
	}))
	must(t, setTime(at("dangling"), time.Unix(-5, 7)))
	must(t, setTime(at("etc"), time.Unix(-86400, 1)))
}

// VFS_CAP_REVISION_2, cap_net_raw+ep
var capNetRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

var everything = []string{"--xattrs", "--xattrs-include=*", "--numeric-owner", "--sort=name"}

func apply(t testing.TB, root string, layer []byte) Applied {
	t.Helper()
	applied, err := Apply(t.Context(), root, bytes.NewReader(layer), ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); applied.DiffID != want && layer[0] != 0x1f && layer[0] != 0x28 {
		t.Errorf("got the diff id %s, want %s", applied.DiffID, want)
	}
	return applied
}

func splitOf(t testing.TB, applied Applied) []byte {
	t.Helper()
	b, err := io.ReadAll(applied.Split.Reader())
	must(t, err)
	return b
}

func replays(t testing.TB, root string, applied Applied, layer []byte) {
	t.Helper()
	var again bytes.Buffer
	if err := Replay(t.Context(), root, applied.Split.Reader(), &again, ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), layer) {
		t.Errorf("replay: got %d bytes that differ from the %d of the layer", again.Len(), len(layer))
	}
}

func TestGNUTarRoundTrip(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	sampleTree(t, from)
	tests := []struct {
		name string
		args []string
	}{
		{"pax", []string{"--format=posix"}},
		{"pax sparse 0.0", []string{"--format=posix", "-S", "--sparse-version=0.0"}},
		{"pax sparse 0.1", []string{"--format=posix", "-S", "--sparse-version=0.1"}},
		{"pax sparse 1.0", []string{"--format=posix", "-S", "--sparse-version=1.0"}},
		{"blocking", []string{"--format=posix", "-b", "900"}},
		{"absolute", []string{"--format=posix", "-P", "--transform=flags=rSh;s,^\\.,/,"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			layer := run(t, nil, "tar", append(append([]string{"-C", from, "-c"}, append(everything, test.args...)...), ".")...)
			to := t.TempDir()
			applied := apply(t, to, layer)
			sameTree(t, from, to)
			replays(t, to, applied, layer)
		})
	}
}

// TestOlderFormats compares with the extraction by tar, as these formats do not contain
// all properties of the sample tree.
func TestOlderFormats(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	sampleTree(t, from)
	must(t, os.Remove(filepath.Join(from, "dangling"))) // of a time before 1970
	must(t, setTime(filepath.Join(from, "etc"), time.Unix(77, 0)))
	for _, args := range [][]string{
		{"--format=gnu"}, {"--format=gnu", "-S"}, {"--format=oldgnu", "-S"}, {"--format=gnu", "--incremental"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			layer := run(t, nil, "tar", append(append([]string{"-C", from, "-c", "--numeric-owner", "--sort=name"}, args...), ".")...)
			to, want := t.TempDir(), t.TempDir()
			if args[len(args)-1] == "--incremental" {
				_, err := Apply(t.Context(), to, bytes.NewReader(layer), ApplyOptions{})
				refused(t, err, ErrFormat, "./")
				return
			}
			run(t, layer, "tar", "-C", want, "-xp", "--numeric-owner")
			applied := apply(t, to, layer)
			sameTree(t, want, to)
			replays(t, to, applied, layer)
		})
	}
}

func TestCompressions(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	sampleTree(t, from)
	layer := run(t, nil, "tar", append(append([]string{"-C", from, "-c", "--format=posix"}, everything...), ".")...)
	first := apply(t, t.TempDir(), layer)
	for _, how := range [][]string{{"gzip", "-c"}, {"zstd", "-c"}, {"zstd", "-c", "--long=27"}} {
		packed := run(t, layer, how[0], how[1:]...)
		to := t.TempDir()
		applied := apply(t, to, packed)
		if applied.DiffID != first.DiffID || !bytes.Equal(splitOf(t, applied), splitOf(t, first)) {
			t.Errorf("%v: got the diff id %s, want %s", how, applied.DiffID, first.DiffID)
		}
		sameTree(t, from, to)
	}
}

func refused(t testing.TB, err error, kind error, entry string) {
	t.Helper()
	var named *EntryError
	switch {
	case err == nil:
		t.Errorf("got no error, want %v", kind)
	case !errors.As(err, &named) || named.Entry != entry:
		t.Errorf("got %v, want the entry %q in it", err, entry)
	case kind != nil && !errors.Is(err, kind):
		t.Errorf("got %v, want %v", err, kind)
	}
}

func TestZerosBecomeHoles(t *testing.T) {
	const size = 512 << 20
	tests := []struct {
		name string
		at   int64 // where there is data, -1 nowhere
		most int64 // KiB on disk
	}{
		{"zeros only", -1, 4}, {"data first", 0, 72}, {"data in the middle", 128<<20 + 12345, 136}, {"data last", size - 100, 72},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			length := int64(size)
			if i > 0 {
				length /= 8
				if test.at > length {
					test.at = test.at/8 - 100
				}
			}
			from := t.TempDir()
			f, err := os.Create(filepath.Join(from, "big"))
			must(t, err)
			must(t, f.Truncate(length))
			if test.at >= 0 {
				_, err = f.WriteAt([]byte("data"), test.at)
				must(t, err)
			}
			must(t, f.Close())
			must(t, setTime(f.Name(), time.Unix(99, 99)))
			c := exec.Command("tar", "-C", from, "-c", "--format=posix", "big")
			layer, err := c.StdoutPipe()
			must(t, err)
			must(t, c.Start())
			to := t.TempDir()
			applied, err := Apply(t.Context(), to, layer, ApplyOptions{})
			must(t, err)
			must(t, c.Wait())
			var st unix.Stat_t
			must(t, unix.Stat(filepath.Join(to, "big"), &st))
			if st.Size != length || st.Blocks/2 > test.most || st.Mtim.Sec != 99 || st.Mtim.Nsec != 99 {
				t.Errorf("got %d bytes, %d KiB on disk, time %v; want %d bytes, at most %d KiB",
					st.Size, st.Blocks/2, st.Mtim, length, test.most)
			}
			h := sha256.New()
			must(t, Replay(t.Context(), to, applied.Split.Reader(), h, ""))
			if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); got != applied.DiffID {
				t.Errorf("replay: got %s, want %s", got, applied.DiffID)
			}
		})
	}
}

// TestSplitIsTarSplits checks that tar-split makes the layer from its split.
func TestSplitIsTarSplits(t *testing.T) {
	need.Root(t)
	from, to := t.TempDir(), t.TempDir()
	sampleTree(t, from)
	layer := run(t, nil, "tar", append(append([]string{"-C", from, "-c", "--format=posix"}, everything...), ".")...)
	applied := apply(t, to, layer)
	lines, err := gzip.NewReader(bytes.NewReader(splitOf(t, applied)))
	must(t, err)
	again := asm.NewOutputTarStream(storage.NewPathFileGetter(to), storage.NewJSONUnpacker(lines))
	defer again.Close()
	b, err := io.ReadAll(again)
	must(t, err)
	if !bytes.Equal(b, layer) {
		t.Error("got another tar from tar-split")
	}
}

// TestStopped checks that Apply returns the cause of the context, at any time.
func TestStopped(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	sampleTree(t, from)
	layer := run(t, nil, "tar", "-C", from, "-c", "--format=posix", ".")
	stop := errors.New("stop")
	for at := 0; at < len(layer); at += 1 << 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		progress := func(n int64) {
			if n >= int64(at) {
				cancel(stop)
			}
		}
		// The stream lacks its last byte and blocks: only the context ends it.
		r := io.MultiReader(bytes.NewReader(layer[:len(layer)-1]), endless{ctx})
		if _, err := Apply(ctx, t.TempDir(), r, ApplyOptions{Progress: progress}); !errors.Is(err, stop) {
			t.Errorf("stopped at %d: got %v, want %v", at, err, stop)
		}
	}
}

type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) {
	<-e.ctx.Done()
	return 0, e.ctx.Err()
}

// TestRoot checks that the root's own entry sets all metadata of a directory, and that the
// root does not change without one.
func TestRoot(t *testing.T) {
	need.Root(t)
	from, to := t.TempDir(), t.TempDir()
	must(t, unix.Setxattr(from, "user.root", []byte("r"), 0))
	must(t, os.Chown(from, 5, 6))
	must(t, os.Chmod(from, 0o711|os.ModeSticky|os.ModeSetgid))
	must(t, setTime(from, time.Unix(42, 43)))
	apply(t, to, run(t, nil, "tar", append(append([]string{"-C", from, "-c", "--format=posix"}, everything...), ".")...))
	sameTree(t, from, to)
	applied := apply(t, to, archiveOf(t, file("new")))
	if want, got := describe(t, from)["/"], describe(t, to)["/"]; got != want {
		t.Errorf("the root: got %s, want %s", got, want)
	}
	if applied.Size != 1 || applied.Entries != 1 {
		t.Errorf("got %+v, want one entry and one byte", applied)
	}
}

// TestAccessTimes applies access times before and after the modification time.
func TestAccessTimes(t *testing.T) {
	need.Root(t)
	early, late := time.Unix(1000, 5), time.Unix(2000, 7)
	with := func(name string, kind byte, accessed, modified time.Time) tar.Header {
		return tar.Header{Name: name, Typeflag: kind, AccessTime: accessed, ModTime: modified, Format: tar.FormatPAX, Linkname: "x"}
	}
	root := t.TempDir()
	apply(t, root, archiveOf(t, with("file", tar.TypeReg, late, early), with("link", tar.TypeSymlink, early, late), with("dir/", tar.TypeDir, late, early)))
	for name, want := range map[string][2]time.Time{"file": {late, early}, "link": {late, late}, "dir": {late, early}} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(root, name), &st))
		if got := [2]time.Time{time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())}; got != want {
			t.Errorf("%s: got the access and modification times %v, want %v", name, got, want)
		}
	}
}

// TestLongNames applies a name of nearly the longest size allowed.
func TestLongNames(t *testing.T) {
	need.Root(t)
	root, name := t.TempDir(), strings.Repeat("n/", 2000)+"file"
	layer := archiveOf(t, file(name), link("same", name))
	applied := apply(t, root, layer)
	replays(t, root, applied, layer)
	apply(t, root, archiveOf(t, whiteoutOf(".wh.n")))
	if got, want := treeOf(t, root), "same"; got != want {
		t.Errorf("after the whiteout: got the tree %.100q, want %q", got, want)
	}
}
