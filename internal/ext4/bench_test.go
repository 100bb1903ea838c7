package ext4

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"

	"thinctl/internal/changes"
	"thinctl/units"
)

// BenchmarkChanges finds a change of 1 MiB in images of two sizes: from the blocks that
// changed, by the walk of both trees, and by containerd's walk. Both file systems are in
// the page cache. "times" is the ratio of their time to that of the first way, one after
// the other in the same minute. "KiB-read" is the amount that Changed reads from both
// devices.
//
// The larger image needs THINCTL_BENCH_LARGE and some minutes.
func BenchmarkChanges(b *testing.B) {
	for _, image := range []struct {
		name        string
		directories int // with 20 files of 50 KB each
		volume      units.Bytes
		large       bool
	}{
		{"500MB-10000-files", 500, 2 * units.GiB, false},
		{"5GB-100000-files", 5000, 8 * units.GiB, true},
	} {
		if image.large && os.Getenv("THINCTL_BENCH_LARGE") == "" {
			continue
		}
		b.Run(image.name, func(b *testing.B) {
			lower := format(b, image.volume, "-b", "4096")
			change(b, lower, func(root string) { fillImage(b, root, image.directories) })
			for _, one := range []struct {
				name string
				make func(root string)
				want []string
			}{
				{"added", func(root string) {
					must(b, os.WriteFile(root+"/dir-7/sub/added", make([]byte, units.MiB), 0o644))
				}, []string{"C /dir-7", "C /dir-7/sub", "A /dir-7/sub/added"}},
				// The names are far from each other, so that all directories are searched.
				{"linked", func(root string) {
					must(b, os.WriteFile(root+"/dir-8/sub/file-9.conf", make([]byte, units.MiB), 0o644))
				}, []string{"C /dir-8", "C /dir-8/sub", "C /dir-8/sub/file-9.conf", "C /dir-99", "C /dir-99/linked"}},
				{"overwritten", func(root string) {
					must(b, os.WriteFile(root+"/dir-7/sub/file-9.conf", make([]byte, units.MiB), 0o644))
				}, []string{"C /dir-7", "C /dir-7/sub", "C /dir-7/sub/file-9.conf"}},
			} {
				b.Run(one.name, func(b *testing.B) {
					upper := clone(b, lower)
					change(b, upper, one.make)
					compareWays(b, lower, upper, one.want)
				})
			}
		})
	}
}

// fillImage makes directories with files that have blocks, but no data.
func fillImage(b *testing.B, root string, directories int) {
	for d := range directories {
		directory := filepath.Join(root, fmt.Sprintf("dir-%d", d%100), "sub")
		if d >= 100 {
			directory = filepath.Join(directory, fmt.Sprintf("more-%d", d))
		}
		must(b, os.MkdirAll(directory, 0o755))
		for i := range 20 {
			f, err := os.Create(filepath.Join(directory, fmt.Sprintf("file-%d.conf", i)))
			must(b, err, unix.Fallocate(int(f.Fd()), 0, 0, 50_000), f.Close())
		}
	}
	must(b, os.Link(root+"/dir-8/sub/file-9.conf", root+"/dir-99/linked"))
}

func compareWays(b *testing.B, lowerImage, upperImage string, want []string) {
	changed := blocks(b, lowerImage, upperImage, never)
	lower, upper := mount(b, lowerImage, readOnly()), mount(b, upperImage, readOnly())
	defer lower.unmount()
	defer upper.unmount()
	var read counter
	check := func(b *testing.B, o changes.Options) {
		if got := lines(walk(b, lower.root, upper.root, o)); !slices.Equal(got, want) {
			b.Fatalf("got %q, want %q", got, want)
		}
	}
	ways := []struct {
		name string
		once func(b *testing.B)
	}{
		{"blocks", func(b *testing.B) {
			read = counter{}
			only, err := Changed(b.Context(), read.from(lower.device), read.from(upper.device), slices.Values(changed))
			must(b, err)
			check(b, changes.Options{Exact: true, Only: only})
		}},
		{"walk", func(b *testing.B) { check(b, changes.Options{Exact: true}) }},
		{"continuity", func(b *testing.B) {
			must(b, continuity.Changes(context.Background(), lower.root, upper.root,
				func(continuity.ChangeKind, string, fs.FileInfo, error) error { return nil }))
		}},
	}
	for _, way := range ways {
		way.once(b) // all of it is in memory now
	}
	var ours time.Duration
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				way.once(b)
			}
			each := b.Elapsed() / time.Duration(b.N)
			if way.name == "blocks" {
				ours = each
				b.ReportMetric(float64(read.bytes)/float64(units.KiB), "KiB-read/op")
			} else if ours > 0 {
				b.ReportMetric(float64(each)/float64(ours), "times")
			}
		})
	}
}

// counter counts what is read through its readers.
type counter struct{ bytes, calls int }

func (c *counter) from(r io.ReaderAt) io.ReaderAt { return counted{c, r} }

type counted struct {
	*counter
	r io.ReaderAt
}

func (c counted) ReadAt(b []byte, at int64) (int, error) {
	c.bytes += len(b)
	c.calls++
	return c.r.ReadAt(b, at)
}
