//go:build kernel

package integration

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thinctl/internal/changes"
	"thinctl/internal/images"
	"thinctl/internal/images/archive"
	"thinctl/internal/layers"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// lastlogSize is the size of a lastlog file whose last entry has a user id of a directory
// service.
const lastlogSize = 300 * units.GiB

// TestSparseFile performs every operation on images with a file of 300 GiB that holds a few
// KiB. One that read or wrote its holes would take hours in the guest.
func TestSparseFile(t *testing.T) {
	for _, fs := range []filesystem.Type{filesystem.Ext4, filesystem.XFS} {
		t.Run(string(fs), func(t *testing.T) {
			pool, s := newStore(t, fs)
			ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute)
			defer cancel()
			step := func(name string, began time.Time) {
				t.Logf("%s took %s", name, time.Since(began).Round(time.Millisecond))
			}

			began := time.Now()
			imported, err := s.Import(ctx, sparseTar(t), images.ImportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			step("import", began)
			if got := used(ctx, t, pool); got > 64*units.MiB {
				t.Errorf("the pool uses %s after the import", got)
			}

			c, err := s.Layers().CreateContainer(ctx,
				layers.ContainerOptions{Name: "web", Image: imported.Key, Layer: imported.Top()})
			if err != nil {
				t.Fatal(err)
			}
			root, err := s.Layers().MountContainer(ctx, c.ID, layers.MountOptions{})
			if err != nil {
				t.Fatal(err)
			}
			writeEntry(t, filepath.Join(root, "lastlog"), 200<<30, "changed")
			began = time.Now()
			changed := differences(t,
				func(visit func(changes.Change) error) error { return s.Layers().ContainerChanges(ctx, "web", visit) })
			step("diff", began)
			if len(changed) != 1 {
				t.Errorf("the container differs in %q, want lastlog alone", changed)
			}
			began = time.Now()
			committed, err := s.Commit(ctx, "web", images.CommitOptions{})
			if err != nil {
				t.Fatal(err)
			}
			step("commit", began)
			began = time.Now()
			saved := saveAll(ctx, t, s, []images.Image{imported}, committed)
			step("save", began)
			if len(saved) > 4<<20 {
				t.Errorf("size of the archive: got %d", len(saved))
			}

			if _, err := s.Layers().RemoveContainer(ctx, "web", layers.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Remove(ctx, []string{imported.Key, committed.Key}, images.RemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			began = time.Now()
			again, err := archive.Read(ctx, bytes.NewReader(saved), archive.Options{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			var loaded images.Image
			for _, entry := range again.Images() {
				if loaded, err = s.Load(ctx, entry.Image, images.LoadOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			step("load", began)
			view, err := s.Layers().ViewLayer(ctx, loaded.Top())
			if err != nil {
				t.Fatal(err)
			}
			expectEntry(t, filepath.Join(view.Root, "lastlog"), 100<<30, "first")
			expectEntry(t, filepath.Join(view.Root, "lastlog"), 200<<30, "changed")
			if err := view.Close(); err != nil {
				t.Fatal(err)
			}
			agree(ctx, t, pool, s)
		})
	}
}

// sparseTar returns the archive that GNU tar writes of a directory with the sparse file.
func sparseTar(t *testing.T) io.Reader {
	t.Helper()
	from := t.TempDir()
	writeEntry(t, filepath.Join(from, "lastlog"), 100<<30, "first")
	return bytes.NewReader([]byte(run(t, "tar", "-C", from, "-cSf", "-", "lastlog")))
}

func writeEntry(t *testing.T, path string, at int64, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(lastlogSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(content), at); err != nil {
		t.Fatal(err)
	}
}

func expectEntry(t *testing.T, path string, at int64, content string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != int64(lastlogSize) {
		t.Errorf("%s: %v, %v; want a size of %s", path, info, err, lastlogSize)
	}
	got := make([]byte, len(content))
	if _, err := f.ReadAt(got, at); err != nil || string(got) != content {
		t.Errorf("%s at %d: %q, %v; want %q", path, at, got, err, content)
	}
}
