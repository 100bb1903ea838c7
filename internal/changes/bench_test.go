package changes

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	continuity "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"

	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// BenchmarkChanges compares two snapshots of one file system in the page cache, also
// with the simple comparison by Docker's rules (the oracle of the tests) and with
// containerd's. "times" is the ratio of their time to that of the walk with
// SameOrigin, one after the other in the same minute. "times-cpu" is the ratio of
// processor time, which depends less on other processes.
func BenchmarkChanges(b *testing.B) {
	for _, tree := range []struct {
		name                     string
		directories, files, size int
		volume                   units.Bytes
		change                   func(b *testing.B, upper string)
		wantAdded, wantChanged   int
	}{
		{"unchanged-100000-files", 2000, 50, 100, 4 * units.GiB, func(*testing.B, string) {}, 0, 0},
		{"1MiB-in-500MB-10000-files", 500, 20, 50_000, 2 * units.GiB, func(b *testing.B, upper string) {
			write(b, upper+"/dir-7/sub/added", string(make([]byte, 1<<20)))
		}, 1, 2},
	} {
		b.Run(tree.name, func(b *testing.B) {
			content := string(make([]byte, tree.size))
			twins := newTwins(b, filesystem.Ext4, tree.volume, func(root string) {
				for d := range tree.directories {
					directory := filepath.Join(root, fmt.Sprintf("dir-%d", d%100), "sub")
					if d >= 100 {
						directory = filepath.Join(directory, fmt.Sprintf("more-%d", d))
					}
					must(b, os.MkdirAll(directory, 0o755))
					for f := range tree.files {
						write(b, filepath.Join(directory, fmt.Sprintf("file-%d.conf", f)), content)
					}
				}
			})
			tree.change(b, twins.upper)
			walk := func(o Options) func(b *testing.B) {
				return func(b *testing.B) {
					_, total := walkLines(b, twins.lower, twins.upper, o)
					if total.Added != tree.wantAdded || total.Modified != tree.wantChanged || total.Deleted != 0 {
						b.Fatalf("got %+v, want %d added, %d modified", total, tree.wantAdded, tree.wantChanged)
					}
				}
			}
			ways := []struct {
				name string
				once func(b *testing.B)
			}{
				{"walk", walk(Options{SameOrigin: true})},
				{"walk-one-worker", walk(Options{SameOrigin: true, Workers: 1})},
				{"walk-any-origin", walk(Options{})},
				{"plain", func(b *testing.B) { oracle(b, twins.lower, twins.upper) }},
				{"continuity", func(b *testing.B) {
					must(b, continuity.Changes(context.Background(), twins.lower, twins.upper,
						func(continuity.ChangeKind, string, fs.FileInfo, error) error { return nil }))
				}},
			}
			for _, way := range ways {
				way.once(b) // both trees are in memory now
			}
			var ours, oursCPU time.Duration
			for _, way := range ways {
				b.Run(way.name, func(b *testing.B) {
					before := processorTime(b)
					for b.Loop() {
						way.once(b)
					}
					each := b.Elapsed() / time.Duration(b.N)
					cpu := (processorTime(b) - before) / time.Duration(b.N)
					b.ReportMetric(float64(cpu)/float64(time.Millisecond), "cpu-ms/op")
					if way.name == "walk" {
						ours, oursCPU = each, cpu
					} else if ours > 0 {
						b.ReportMetric(float64(each)/float64(ours), "times")
						b.ReportMetric(float64(cpu)/float64(oursCPU), "times-cpu")
					}
				})
			}
		})
	}
}

// processorTime returns the processor time that the process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
