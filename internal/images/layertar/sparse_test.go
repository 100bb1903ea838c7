package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/need"

	"golang.org/x/sys/unix"
)

// hugeSize is the size of /var/log/lastlog with a user id of a directory service.
const hugeSize = 300 << 30

// hugeFile makes a file of this size with a few pieces of 4 KiB.
func hugeFile(t testing.TB, at string) {
	t.Helper()
	f, err := os.Create(at)
	must(t, err)
	must(t, f.Truncate(hugeSize))
	for i := range int64(100) { // more than fit into a header of GNU tar's old format
		_, err := f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 4096), i*(3<<30)+4096)
		must(t, err)
	}
	must(t, f.Close())
	must(t, unix.Setxattr(at, capability, []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(t, setTime(at, time.Unix(99, 0)))
}

// isHugeFile checks that a file is one of hugeFile.
func isHugeFile(t testing.TB, at string, capabilities bool) {
	t.Helper()
	f, err := os.Open(at)
	must(t, err)
	defer f.Close()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	if st.Size != hugeSize || st.Blocks > 100*2*8+64 || st.Mtim.Sec != 99 {
		t.Errorf("got %d bytes, %d KiB on disk, time %d; want %d bytes, about 400 KiB, time 99", st.Size, st.Blocks/2, st.Mtim.Sec, int64(hugeSize))
	}
	for i := range int64(100) {
		b := make([]byte, 3*4096)
		_, err := f.ReadAt(b, i*(3<<30))
		must(t, err)
		if want := bytes.Repeat([]byte{byte(i + 1)}, 4096); !bytes.Equal(b[4096:8192], want) || !allZero(b[:4096]) || !allZero(b[8192:]) {
			t.Fatalf("got other data at %d GiB", 3*i)
		}
	}
	var value [64]byte
	if n, err := unix.Fgetxattr(int(f.Fd()), capability, value[:]); capabilities && (err != nil || n != 20) {
		t.Errorf("got capabilities of %d bytes, %v, want 20", n, err)
	}
}

// TestHugeSparseFiles applies and replays a sparse file in each of GNU tar's formats. The
// time depends on the data only: with the holes it would be minutes.
func TestHugeSparseFiles(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	hugeFile(t, filepath.Join(from, "lastlog"))
	must(t, os.WriteFile(filepath.Join(from, "next"), []byte("next"), 0o600))
	for name, flags := range map[string][]string{
		"old GNU": {"--format=gnu"},
		"0.0":     {"--format=posix", "--sparse-version=0.0", "--xattrs", "--xattrs-include=*"},
		"0.1":     {"--format=posix", "--sparse-version=0.1", "--xattrs", "--xattrs-include=*"},
		"1.0":     {"--format=posix", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*"},
	} {
		t.Run(name, func(t *testing.T) {
			layer := run(t, nil, "tar", append(append([]string{"-C", from, "-cS"}, flags...), "lastlog", "next")...)
			if len(layer) > 2<<20 {
				t.Fatalf("got %d bytes from tar, want at most 2 MiB", len(layer))
			}
			to := t.TempDir()
			applied := apply(t, to, layer)
			isHugeFile(t, filepath.Join(to, "lastlog"), name != "old GNU")
			if next, err := os.ReadFile(filepath.Join(to, "next")); err != nil || string(next) != "next" {
				t.Errorf("the next entry: got %q, %v", next, err)
			}
			replays(t, to, applied, layer)
		})
	}
}

// TestWriteHugeSparseFile writes such a file and reads it with GNU tar, archive/tar and
// Apply.
func TestWriteHugeSparseFile(t *testing.T) {
	need.Root(t)
	from := t.TempDir()
	hugeFile(t, filepath.Join(from, "lastlog"))
	must(t, os.WriteFile(filepath.Join(from, "a"), []byte("before"), 0o600))
	must(t, os.WriteFile(filepath.Join(from, "next"), []byte("next"), 0o600))
	var first, layer bytes.Buffer
	written, err := WriteAll(t.Context(), from, &layer)
	must(t, err)
	_, err = WriteAll(t.Context(), from, &first)
	must(t, err)
	if !bytes.Equal(first.Bytes(), layer.Bytes()) || written.TarSize != int64(layer.Len()) || layer.Len() > 16<<20 {
		t.Errorf("written twice: got %d and %d bytes, counted as %d; want the same bytes, at most 16 MiB",
			first.Len(), layer.Len(), written.TarSize)
	}
	r := tar.NewReader(bytes.NewReader(layer.Bytes()))
	for _, want := range []struct {
		name string
		size int64
	}{{"a", 6}, {"lastlog", hugeSize}, {"next", 4}} {
		h, err := r.Next()
		must(t, err)
		if h.Name != want.name || h.Size != want.size {
			t.Errorf("archive/tar: got %s of %d bytes, want %s of %d", h.Name, h.Size, want.name, want.size)
		}
	}
	to := t.TempDir()
	applied := apply(t, to, layer.Bytes())
	isHugeFile(t, filepath.Join(to, "lastlog"), true)
	replays(t, to, applied, layer.Bytes())
	gnu := t.TempDir()
	run(t, layer.Bytes(), "tar", "-C", gnu, "-x")
	isHugeFile(t, filepath.Join(gnu, "lastlog"), false)
}

func TestSparseMaps(t *testing.T) {
	need.Root(t)
	sparse := func(list, data string) []byte {
		records := record("GNU.sparse.map", list) + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.size", "100")
		layer := pax(records, "a")
		at := len(layer) - 1024 - 512
		layer = patched(layer, at, 124, "00000000005\x00")
		return append(layer[:at+512], append([]byte(data), make([]byte, 512-len(data)+1024)...)...)
	}
	root := t.TempDir()
	apply(t, root, sparse("10,5", "hello"))
	got, err := os.ReadFile(filepath.Join(root, "a"))
	must(t, err)
	if want := strings.Repeat("\x00", 10) + "hello" + strings.Repeat("\x00", 85); string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// archive/tar skips data that are not in the map, GNU tar does not.
	for _, list := range []string{"10,4", "10,6", "96,5", "10,2,11,3"} {
		_, err := Apply(t.Context(), t.TempDir(), bytes.NewReader(sparse(list, "hello")), ApplyOptions{})
		if !errors.Is(err, ErrFormat) {
			t.Errorf("map %s: got %v, want %v", list, err, ErrFormat)
		}
	}
	_, err = Apply(t.Context(), t.TempDir(), io.LimitReader(bytes.NewReader(sparse("10,5", "hello")), 512+512+512+3), ApplyOptions{})
	if !errors.Is(err, ErrFormat) {
		t.Errorf("cut in the data: got %v, want %v", err, ErrFormat)
	}
}
