package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/images/compression"
	"thinctl/internal/testkit/need"
)

// TestUnusualLayers applies unusual layers that Docker, containerd or skopeo accept. Each
// must be replayed, and cause a warning.
func TestUnusualLayers(t *testing.T) {
	need.Root(t)
	good := archiveOf(t, file("a"), file("b"))
	unpadded := archiveOf(t, tar.Header{Name: "a", Size: 700})
	for _, c := range []struct {
		name  string
		layer []byte
		want  string // files in the root
		warn  string // what the only warning has; "" for none
	}{
		{"nothing at all", nil, "", "empty"},
		{"gzip of nothing", gzipped(nil), "", "empty"},
		{"only an end", make([]byte, 1024), "", ""},
		{"one block of zeros for an end", good[:len(good)-512], "a b", "end marker"},
		{"no end", good[:len(good)-1024], "a b", "end marker"},
		{"no end, and no padding", unpadded[:512+700], "a", "padding"},
		{"no end, and half of the padding", unpadded[:512+800], "a", "padding"},
		{"a tape's record of zeros", append(bytes.Clone(good), make([]byte, 20*512)...), "a b", ""},
		{"garbage after the end", append(bytes.Clone(good), "garbage"...), "a b", "after the end"},
		{"one tar after another", append(bytes.Clone(good), archiveOf(t, file("c"))...), "a b", "after the end"},
		{"zeros after gzip", append(gzipped(good), make([]byte, 512)...), "a b", "512 zeros"},
		{"garbage after gzip", append(gzipped(good), "garbage"...), "a b", "7 bytes"},
		{"two members of gzip", append(gzipped(good[:1000]), gzipped(good[1000:])...), "a b", ""},
		{"garbage after zstd", append(run(t, good, "zstd", "-c"), "garbage"...), "a b", "zstd"},
		{"aufs's own", archiveOf(t, directoryOf(".wh..wh.plnk/"), file(".wh..wh.plnk/1.2"), whiteoutOf(".wh..wh.aufs"), directoryOf(".wh..wh.orph/"), file("a")), "a", "aufs"},
		{"hard links into aufs", archiveOf(t, tar.Header{Name: ".wh..wh.plnk/1.2", Size: 70_000}, link("a", ".wh..wh.plnk/1.2"), file("c"), link("b", "/.wh..wh.plnk/1.2")), "a b c", "aufs"},
		{"global pax headers", archiveOf(t, global("a commit"), file("a"), global(strings.Repeat("c", 700)), file("b")), "a b", ""},
		{"a global pax header of whole blocks", archiveOf(t, global(strings.Repeat("c", 1024-len("1024 comment=\n"))), file("a")), "a", ""},
		{"a global pax header alone", archiveOf(t, global("a commit")), "", ""},
		{"a global pax header and no end", archiveOf(t, file("a"), global("a commit"))[:512*5], "a", "end marker"},
		{"xz", run(t, good, "xz", "-c"), "a b", ""},
		{"bzip2", run(t, good, "bzip2", "-c"), "a b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var warned []string
			o := ApplyOptions{Warn: func(w fault.Warning) { warned = append(warned, w.String()) }}
			root := t.TempDir()
			applied, err := Apply(t.Context(), root, bytes.NewReader(c.layer), o)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(root)
			must(t, err)
			var got []string
			for _, e := range entries {
				got = append(got, filepath.Base(e.Name()))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got the files %q, want %q", got, c.want)
			}
			if c.warn == "" && len(warned) > 0 || c.warn != "" && (len(warned) != 1 || !strings.Contains(warned[0], c.warn)) {
				t.Errorf("got the warnings %q, want one with %q", warned, c.warn)
			}
			plain, err := compression.NewReader(bytes.NewReader(c.layer), compression.Options{})
			must(t, err)
			var whole bytes.Buffer
			_, err = whole.ReadFrom(plain)
			must(t, err)
			replays(t, root, applied, whole.Bytes())
		})
	}
}

// global returns the header that git archive writes, with a comment of its own.
func global(comment string) tar.Header {
	return tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": comment}}
}

// TestReplacedContents applies and replays layers that replace or remove much of their own
// contents.
func TestReplacedContents(t *testing.T) {
	need.Root(t)
	big := func(name string) tar.Header { return tar.Header{Name: name, Size: 40 << 20} }
	for _, c := range []struct {
		name    string
		headers []tar.Header
	}{
		{"the same file many times", []tar.Header{big("a"), big("a"), big("a"), file("a")}},
		{"a file, then a directory", []tar.Header{big("a"), directoryOf("a/"), big("a/b"), file("a")}},
		{"a whiteout of its own", []tar.Header{big("a"), whiteoutOf(".wh.a"), big("b")}},
		{"a hard link to something removed later", []tar.Header{big("a"), link("b", "a"), whiteoutOf(".wh.a"), file("b")}},
		{"contents of aufs", []tar.Header{big(".wh..wh.plnk/1"), link("a", ".wh..wh.plnk/1"), file("a")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			layer, root := archiveOf(t, c.headers...), t.TempDir()
			// Contents that do not compress well need a file.
			state := uint32(1)
			for i := range layer {
				if layer[i] == 'x' {
					state ^= state << 13
					state ^= state >> 17
					state ^= state << 5
					layer[i] = byte(state)
				}
			}
			applied, err := Apply(t.Context(), root, bytes.NewReader(layer), ApplyOptions{TempDir: t.TempDir()})
			must(t, err)
			defer applied.Split.Close()
			replays(t, root, applied, layer)
			_, err = Apply(t.Context(), t.TempDir(), bytes.NewReader(layer), ApplyOptions{Limits: Limits{Kept: 30 << 20}})
			var limit *LimitError
			if !errors.As(err, &limit) || limit.Name != "kept" {
				t.Errorf("with a limit of 30 MiB: got %v, want the limit kept", err)
			}
		})
	}
}
