package layertar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/units"
)

// builder makes tars that other programs do not write.
type builder struct {
	bytes.Buffer
	w *tar.Writer
}

func archiveOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b builder
	b.w = tar.NewWriter(&b)
	for _, h := range headers {
		b.add(t, h)
	}
	must(t, b.w.Close())
	return b.Bytes()
}

// add writes an entry. Its contents are as many "x" as its size.
func (b *builder) add(t testing.TB, h tar.Header) {
	t.Helper()
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
		h.Mode = 0o755
	}
	must(t, b.w.WriteHeader(&h))
	if h.Typeflag == tar.TypeReg {
		_, err := b.w.Write(bytes.Repeat([]byte("x"), int(h.Size)))
		must(t, err)
	}
}

// patched changes bytes of the header at offset, and its checksum.
func patched(layer []byte, header, at int, value string) []byte {
	layer = bytes.Clone(layer)
	h := layer[header : header+512]
	copy(h[at:], value)
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return layer
}

func base256(v int64, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(v >> 63)
	}
	for i := range min(8, size) {
		b[size-1-i] = byte(v >> (8 * i))
	}
	b[0] |= 0x80
	return string(b)
}

// pax writes an extended header with unchecked records, then an entry.
func pax(records string, name string) []byte {
	var b bytes.Buffer
	raw := func(name string, flag byte, body string) {
		h := make([]byte, 512)
		copy(h, name)
		copy(h[100:], "0000644\x000000000\x000000000\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00", len(body)))
		copy(h[136:], "00000000000\x00")
		h[156] = flag
		copy(h[257:], "ustar\x0000")
		b.Write(patched(h, 0, 0, ""))
		b.WriteString(body)
		b.Write(make([]byte, padding(int64(len(body)))))
	}
	raw("pax", 'x', records)
	raw(name, '0', "")
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func record(key, value string) string {
	n := len(key) + len(value) + 3
	for size := n; ; size++ {
		if s := fmt.Sprintf("%d %s=%s\n", size, key, value); len(s) == size {
			return s
		}
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func file(name string) tar.Header { return tar.Header{Name: name, Size: 1} }

func TestMalicious(t *testing.T) {
	need.Root(t)
	tests := malicious(t)
	if len(tests) < 40 {
		t.Fatalf("got %d archives, want 40 or more", len(tests))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root, canary := canaryFixture(t)
			before := describe(t, canary)
			_, err := Apply(t.Context(), root, bytes.NewReader(test.layer), ApplyOptions{Limits: test.limits})
			refused(t, err, test.kind, test.entry)
			if diff := cmp.Diff(before, describe(t, canary)); diff != "" {
				t.Errorf("outside of the root (-before +after):\n%s", diff)
			}
		})
	}
}

// canaryFixture makes a root with links to a canary, a directory outside of the root that
// Apply must not change.
func canaryFixture(t testing.TB) (root, canary string) {
	t.Helper()
	outer := t.TempDir()
	root, canary = filepath.Join(outer, "root"), filepath.Join(outer, "canary")
	must(t, os.MkdirAll(filepath.Join(canary, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(canary, "secret"), []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(canary, "dir", "file"), []byte("file"), 0o600))
	must(t, os.Mkdir(root, 0o755))
	must(t, os.Mkdir(filepath.Join(root, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "plain"), []byte("plain"), 0o644))
	for name, target := range map[string]string{
		"abs": canary, "rel": "../canary", "absfile": canary + "/secret", "relfile": "../canary/secret",
		"sub/up": "../../canary", "up": "..", "slash": "/", "loop": "loop",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
	}
	must(t, filepath.WalkDir(outer, func(p string, _ os.DirEntry, err error) error {
		return setTime(p, time.Unix(1000, 1))
	}))
	return root, canary
}

type attack struct {
	name   string
	layer  []byte
	limits Limits
	kind   error
	entry  string
}

func malicious(t testing.TB) []attack {
	good := archiveOf(t, file("a"), file("b"))
	one := archiveOf(t, file("a"))
	big := archiveOf(t, tar.Header{Name: "a", Size: 100_000})
	long := strings.Repeat("n", 300)
	a := func(name string, kind error, entry string, headers ...tar.Header) attack {
		return attack{name: name, layer: archiveOf(t, headers...), kind: kind, entry: entry}
	}
	raw := func(name string, kind error, entry string, layer []byte) attack {
		return attack{name: name, layer: layer, kind: kind, entry: entry}
	}
	limited := func(l Limits, x attack) attack { x.limits = l; return x }
	return []attack{
		a("parent", ErrEscapes, "../canary/new", file("../canary/new")),
		a("parent itself", ErrEscapes, "..", tar.Header{Name: "..", Typeflag: tar.TypeDir}),
		a("parent behind a directory", ErrEscapes, "sub/../../canary/new", file("sub/../../canary/new")),
		a("parent of slash", ErrEscapes, "/../canary/new", file("/../canary/new")),
		a("parent after dots", ErrEscapes, "./.././canary/new", file("./.././canary/new")),
		a("parent at the end", ErrEscapes, "sub/../..", tar.Header{Name: "sub/../..", Typeflag: tar.TypeDir}),
		a("parent in a long name", ErrEscapes, "../canary/"+long, file("../canary/"+long)),
		a("whiteout of a parent's file", ErrEscapes, "../canary/.wh.secret", tar.Header{Name: "../canary/.wh.secret"}),
		a("opaque parent", ErrEscapes, "../canary/.wh..wh..opq", tar.Header{Name: "../canary/.wh..wh..opq"}),
		a("relative hard link", ErrEscapes, "h", link("h", "../canary/secret")),
		a("hard link through a directory", ErrEscapes, "h", link("h", "sub/../../canary/secret")),
		a("absolute hard link out", ErrEscapes, "h", link("h", "/../canary/secret")),
		a("absolute hard link", os.ErrNotExist, "h", link("h", "/etc/shadow")),
		a("hard link through an absolute link", os.ErrNotExist, "h", link("h", "abs/secret")),
		a("hard link through a relative link", os.ErrNotExist, "h", link("h", "rel/secret")),
		a("hard link through the link up", os.ErrNotExist, "h", link("h", "up/canary/secret")),
		a("hard link to the root", ErrFormat, "h", link("h", "./")),
		a("hard link to slash", ErrFormat, "h", link("h", "/")),
		a("hard link to nothing", os.ErrNotExist, "h", link("h", "missing")),
		a("hard link to itself", os.ErrNotExist, "plain", link("plain", "plain")),
		a("hard link to a directory", unix.EPERM, "h", link("h", "sub")),
		a("hard link into aufs", ErrFormat, "h", link("h", ".wh..wh.plnk/1.2")),
		a("through a loop", nil /* ELOOP or another */, "loop/x", file("loop/x")),
		a("below a file of its own", unix.ENOTDIR, "own/x", file("own"), file("own/x")),
		a("deep below a file of its own", unix.ENOTDIR, "own/x/y", file("own"), file("own/x/y")),
		a("below its own link to its own file", unix.ENOTDIR, "l/x", file("own"), symlink("l", "own"), file("l/x")),
		raw("no name", ErrFormat, "", patched(one, 0, 0, "\x00")),
		raw("NUL in a pax name", ErrFormat, "", pax(record("path", "a\x00b"), "a")),
		raw("NUL in a pax link", ErrFormat, "", pax(record("linkpath", "a\x00b"), "a")),
		raw("parent in a pax name", ErrEscapes, "../canary/p", pax(record("path", "../canary/p"), "a")),
		raw("broken pax record", ErrFormat, "", pax("999 path=x\n", "a")),
		raw("negative pax size", ErrFormat, "", pax(record("size", "-1"), "a")),
		raw("absurd pax size", ErrLimit, "a", pax(record("size", "9223372036854775807"), "a")),
		raw("absurd sparse size", ErrLimit, "a", pax(record("GNU.sparse.map", "0,0")+record("GNU.sparse.numblocks", "1")+record("GNU.sparse.size", "9223372036854775807"), "a")),
		raw("overlapping sparse map", ErrFormat, "", pax(record("GNU.sparse.map", "0,5,3,5")+record("GNU.sparse.numblocks", "2")+record("GNU.sparse.size", "100"), "a")),
		raw("sparse map without data", ErrFormat, "a", pax(record("GNU.sparse.map", "0,5")+record("GNU.sparse.numblocks", "1")+record("GNU.sparse.size", "100"), "a")),
		raw("escaping sparse name", ErrEscapes, "../x", pax(record("GNU.sparse.name", "../x")+record("GNU.sparse.map", "0,0")+record("GNU.sparse.numblocks", "1")+record("GNU.sparse.size", "100"), "a")),
		raw("xattr without a name", unix.ERANGE, "a", pax(record("SCHILY.xattr.", "v"), "a")),
		raw("xattr too large", unix.E2BIG, "a", pax(record("SCHILY.xattr.user.big", strings.Repeat("v", 70_000)), "a")),
		raw("negative size", ErrFormat, "", patched(one, 0, 124, base256(-1, 12))),
		raw("absurd size", ErrLimit, "a", patched(one, 0, 124, base256(1<<62, 12))),
		raw("owner -1", ErrFormat, "a", patched(one, 0, 108, base256(-1, 8))),
		raw("owner too large", ErrFormat, "a", patched(one, 0, 108, base256(1<<32-1, 8))),
		raw("group -1", ErrFormat, "a", patched(one, 0, 116, base256(-1, 8))),
		raw("negative mode", ErrFormat, "a", patched(one, 0, 100, base256(-1, 8))),
		raw("unknown type", ErrFormat, "a", patched(one, 0, 156, "Z")),
		raw("multi-volume", ErrFormat, "a", patched(one, 0, 156, "M")),
		raw("volume label", ErrFormat, "a", patched(one, 0, 156, "V")),
		raw("device too large", ErrFormat, "d", patched(archiveOf(t, tar.Header{Name: "d", Typeflag: tar.TypeChar}), 0, 329, base256(1<<40, 8))),
		raw("negative device", ErrFormat, "d", patched(archiveOf(t, tar.Header{Name: "d", Typeflag: tar.TypeBlock}), 0, 337, base256(-1, 8))),
		a("file for a root", ErrFormat, ".", file(".")),
		a("link for a root", ErrFormat, "./", symlink("./", "/etc")),
		a("directory's parent as the root's file", ErrFormat, "sub/..", symlink("sub/..", "x")),
		raw("symbolic link to nothing", ErrFormat, "a", patched(one, 0, 156, "2")),
		a("symbolic link too long", ErrFormat, "s", symlink("s", strings.Repeat("t", 4096))),
		a("name too long", ErrLimit, strings.Repeat("n/", 2500), tar.Header{Name: strings.Repeat("n/", 2500), Typeflag: tar.TypeDir}),
		a("part too long", unix.ENAMETOOLONG, long, file(long)),
		a("whiteout of nothing", ErrFormat, ".wh.", tar.Header{Name: ".wh."}),
		a("whiteout of the directory", ErrFormat, ".wh..", tar.Header{Name: ".wh.."}),
		a("whiteout of the parent", ErrFormat, ".wh...", tar.Header{Name: ".wh..."}),
		a("whiteout of the parent below", ErrFormat, "sub/.wh...", tar.Header{Name: "sub/.wh..."}),
		a("inside a whiteout", ErrFormat, ".wh.sub/x", file(".wh.sub/x")),
		a("inside a whiteout below", ErrFormat, "sub/.wh.y/x", file("sub/.wh.y/x")),
		limited(Limits{Entries: 1}, raw("too many entries", ErrLimit, "b", good)),
		limited(Limits{Bytes: 50_000}, raw("file over the limit", ErrLimit, "a", big)),
		limited(Limits{Bytes: 3 * units.KiB}, raw("all over the limit", ErrLimit, "c", archiveOf(t, file("a"), file("b"), file("c"), file("d")))),
		limited(Limits{Bytes: 64 * units.KiB}, raw("gzip bomb behind the end", ErrLimit, "b", gzipped(append(bytes.Clone(good), make([]byte, 50<<20)...)))),
		limited(Limits{Bytes: 64 * units.KiB}, raw("gzip bomb of a file", ErrLimit, "a", gzipped(archiveOf(t, tar.Header{Name: "a", Size: 50 << 20})))),
		limited(Limits{Header: 64 * units.KiB}, raw("headers without end", ErrLimit, "", bytes.Repeat(pax(record("comment", strings.Repeat("c", 9000)), "a")[:512+9216], 20))),
		limited(Limits{Path: 10}, a("over the path's limit", ErrLimit, "12345678901", file("12345678901"))),
		limited(Limits{Kept: 10}, a("replaced over the limit", ErrLimit, "a", tar.Header{Name: "a", Size: 100}, file("a"))),
		raw("cut in contents", ErrFormat, "a", big[:50_000]),
		raw("cut in a header", ErrFormat, "a", good[:1024+100]),
		raw("no tar", ErrFormat, "", bytes.Repeat([]byte("no tar "), 1000)),
		raw("xz", ErrFormat, "", []byte("\xfd7zXZ\x00 and more")),
		raw("garbage for a header", ErrFormat, "a", append(bytes.Clone(one[:1024]), bytes.Repeat([]byte("g"), 1024)...)),
		raw("wrong sum", ErrFormat, "", append([]byte("b"), one[1:]...)),
		raw("cut gzip", ErrFormat, "a", gzipped(big)[:100]),
		raw("cut gzip header", ErrFormat, "", gzipped(big)[:8]),
		raw("gzip of another sum", ErrFormat, "b", corrupt(gzipped(good), -8)),
		raw("cut zstd", ErrFormat, "", run(t, big, "zstd", "-c")[:40]),
		raw("zstd of another sum", ErrFormat, "b", corrupt(run(t, good, "zstd", "-c", "--check"), -2)),
	}
}

func corrupt(b []byte, at int) []byte {
	b[len(b)+at] ^= 0xff
	return b
}

// TestStaysInside applies entries that seem to lead out of the root, but stay inside.
func TestStaysInside(t *testing.T) {
	need.Root(t)
	tests := []struct {
		name    string
		headers []tar.Header
		inside  string // exists afterwards
	}{
		{"through an absolute link", []tar.Header{file("abs/new")}, ""},
		{"through a relative link", []tar.Header{file("rel/new")}, "canary/new"},
		{"through a link in a directory", []tar.Header{file("sub/up/new")}, "canary/new"},
		{"through the link to slash", []tar.Header{file("slash/canary/new")}, "canary/new"},
		{"through the link up", []tar.Header{file("up/canary/new")}, "canary/new"},
		{"over a link to a file", []tar.Header{file("absfile")}, "absfile"},
		{"directory over a link", []tar.Header{{Name: "rel", Typeflag: tar.TypeDir}, file("rel/new")}, "rel/new"},
		{"link, then through it", []tar.Header{symlink("l", "../canary"), file("l/secret")}, "canary/secret"},
		{"link, then over it", []tar.Header{symlink("l", "../canary/secret"), file("l")}, "l"},
		{"hard link to a link, then over it", []tar.Header{link("h", "absfile"), file("h")}, "h"},
		{"hard link to a link, its owner", []tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "relfile", Uid: 7, Gid: 7}}, "h"},
		{"whiteout through a link", []tar.Header{{Name: "rel/.wh.secret"}}, ""},
		{"whiteout of a link", []tar.Header{{Name: ".wh.abs"}}, ""},
		{"opaque through a link", []tar.Header{{Name: "rel/.wh..wh..opq"}}, ""},
		{"opaque through the link up", []tar.Header{{Name: "up/.wh..wh..opq"}}, ""},
		{"directory times through a link made later", []tar.Header{{Name: "d", Typeflag: tar.TypeDir}, symlink("d", "../canary")}, "d"},
		{"below a directory that became a link", []tar.Header{{Name: "d/e", Typeflag: tar.TypeDir}, symlink("d", "../canary/dir"), file("d/file")}, "canary/dir/file"},
		{"below a link to a file outside", []tar.Header{file("absfile/new")}, ""},
		{"below its own link to a lower file", []tar.Header{symlink("l", "plain"), file("l/new")}, "plain/new"},
		{"device through a link", []tar.Header{{Name: "rel/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, "canary/null"},
		{"zeros through a link", []tar.Header{{Name: "rel/secret", Size: 1 << 20}}, "canary/secret"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root, canary := canaryFixture(t)
			before := describe(t, canary)
			layer := archiveOf(t, test.headers...)
			applied, err := Apply(t.Context(), root, bytes.NewReader(layer), ApplyOptions{})
			must(t, err)
			if _, err := os.Lstat(filepath.Join(root, test.inside)); err != nil {
				t.Error(err)
			}
			replays(t, root, applied, layer)
			if diff := cmp.Diff(before, describe(t, canary)); diff != "" {
				t.Errorf("outside of the root (-before +after):\n%s", diff)
			}
		})
	}
}

func TestReaderFails(t *testing.T) {
	need.Root(t)
	layer := archiveOf(t, file("a"), tar.Header{Name: "b", Size: 1 << 20})
	broken := errors.New("connection reset")
	for _, b := range [][]byte{layer, gzipped(layer)} {
		r := io.MultiReader(bytes.NewReader(b[:len(b)/2]), failing{broken})
		_, err := Apply(t.Context(), t.TempDir(), r, ApplyOptions{})
		refused(t, err, broken, "b")
		if errors.Is(err, ErrFormat) {
			t.Errorf("got %v, want no ErrFormat, as the reader failed", err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
