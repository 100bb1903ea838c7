package layertar

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thinctl/internal/images/compression"
	"thinctl/units"
)

// FuzzApply checks that Apply does not panic, changes nothing outside of the root, and
// that a layer which it accepts is replayed.
func FuzzApply(f *testing.F) {
	for _, a := range malicious(f) {
		if len(a.layer) < 32<<10 {
			f.Add(a.layer)
		}
	}
	for _, w := range whiteouts {
		f.Add(archiveOf(f, w.headers...))
	}
	from := f.TempDir()
	must(f, os.WriteFile(filepath.Join(from, "sparse"), []byte("x"), 0o644))
	must(f, os.Truncate(filepath.Join(from, "sparse"), 1<<20))
	for _, version := range []string{"0.0", "0.1", "1.0"} {
		f.Add(run(f, nil, "tar", "-C", from, "-cS", "--format=posix", "--sparse-version="+version, "sparse"))
	}
	f.Add(run(f, nil, "tar", "-C", from, "-cS", "--format=gnu", "sparse"))
	limits := Limits{Bytes: 4 * units.MiB, Entries: 100}
	f.Fuzz(func(t *testing.T, layer []byte) {
		root, canary := canaryFixture(t)
		before := describe(t, canary)
		applied, err := Apply(t.Context(), root, bytes.NewReader(layer), ApplyOptions{Limits: limits})
		if diff := cmp.Diff(before, describe(t, canary)); diff != "" {
			t.Errorf("outside of the root (-before +after):\n%s", diff)
		}
		var named *EntryError
		if err != nil {
			if !errors.As(err, &named) {
				t.Errorf("got %v, want an EntryError", err)
			}
			return
		}
		plain, err := compression.NewReader(bytes.NewReader(layer), compression.Options{})
		must(t, err)
		var want, got bytes.Buffer
		_, err = want.ReadFrom(plain)
		must(t, err)
		if err := Replay(t.Context(), root, applied.Split.Reader(), &got, ""); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Error("got another tar from Replay")
		}
	})
}
