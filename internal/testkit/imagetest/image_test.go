package imagetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSeedsHaveTheSizesOfTheExperiments(t *testing.T) {
	one, two := Seeds(SeedOptions{})
	for image, want := range map[*Image][]int64{
		&one: {0, 198_900_000, 200_000, 0, 0, 37_800_000, 0},
		&two: {0, 100_900_000, 200_000, 0, 71_000_000},
	} {
		if len(image.Layers) != len(want) {
			t.Fatalf("%v: got %d layers, want %d", image.Names, len(image.Layers), len(want))
		}
		for i, l := range image.Layers {
			if l.Size() != want[i] || l.HistoryOnly {
				t.Errorf("%v, layer %d: got %d bytes, history only %t; want %d bytes with entries",
					image.Names, i, l.Size(), l.HistoryOnly, want[i])
			}
		}
	}
}

// TestImagesStayTheSame pins the digests of the images, because other tests depend on them.
func TestImagesStayTheSame(t *testing.T) {
	one, two := Seeds(SeedOptions{Scale: 16})
	for _, c := range []struct {
		image  Image
		id     string
		layers int
	}{
		{one, "0c2ef7ce3245", 7},
		{two, "88c8fc3b82b6", 5},
		{Deep(127), "25a4b8b97794", 127},
		{Links(), "8eb762e2721f", 2},
		{Special(), "cc4cc6696e1d", 3},
	} {
		b, err := Build(c.image)
		if err != nil {
			t.Fatal(err)
		}
		if b.ID[:12] != c.id || len(b.Contents) != c.layers {
			t.Errorf("%v: got id %.12s and %d layers, want %s and %d", b.Names, b.ID, len(b.Contents), c.id, c.layers)
		}
	}
}

func TestArchivesMatchTheirDigests(t *testing.T) {
	one, two := Seeds(SeedOptions{Scale: 256, Compressible: true})
	var built []*Built
	for _, i := range []Image{one, two, Special()} {
		b, err := Build(i)
		if err != nil {
			t.Fatal(err)
		}
		built = append(built, b)
	}
	if built[0].ChainIDs[0] != built[1].ChainIDs[0] || built[0].ChainIDs[1] == built[1].ChainIDs[1] {
		t.Error("got seeds that do not share exactly the base layer")
	}
	for name, write := range map[string]func(io.Writer) error{
		"docker": func(w io.Writer) error { return WriteDocker(w, built...) },
		"plain":  func(w io.Writer) error { return WriteOCI(w, None, built...) },
		"gzip":   func(w io.Writer) error { return WriteOCI(w, Gzip, built...) },
		"zstd":   func(w io.Writer) error { return WriteOCI(w, Zstd, built...) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			checked := checkArchive(t, &out)
			if want := 10; checked < want {
				t.Errorf("got %d files with a digest as their name, want at least %d", checked, want)
			}
		})
	}
}

func checkArchive(t *testing.T, r io.Reader) (checked int) {
	seen := map[string]bool{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return checked
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if seen[h.Name] {
			t.Errorf("%s: got a second file with this name", h.Name)
		}
		seen[h.Name] = true
		if strings.HasSuffix(h.Name, ".json") && !json.Valid(text) {
			t.Errorf("%s: not valid JSON", h.Name)
		}
		sum := sha256.Sum256(text)
		for part := range strings.FieldsFuncSeq(h.Name, func(r rune) bool { return r == '/' || r == '.' }) {
			if len(part) == 64 {
				checked++
				if part != hex.EncodeToString(sum[:]) {
					t.Errorf("%s: got digest %x, want the one in its name", h.Name, sum)
				}
			}
		}
	}
}
