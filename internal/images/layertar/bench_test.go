package layertar

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"
)

// benchLayer makes the tar of 500 MB in 5,000 files.
func benchLayer(b *testing.B) string {
	b.Helper()
	from := b.TempDir()
	random := rand.NewChaCha8([32]byte{4})
	buf := make([]byte, 100_000)
	for i := range 5000 {
		random.Read(buf)
		dir := filepath.Join(from, fmt.Sprintf("dir%02d/sub%d", i%50, i%7))
		must(b, os.MkdirAll(dir, 0o755))
		must(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d", i)), buf, 0o644))
	}
	layer := filepath.Join(b.TempDir(), "layer.tar")
	run(b, nil, "tar", "-C", from, "-cf", layer, "--format=posix", ".")
	must(b, os.RemoveAll(from))
	return layer
}

func BenchmarkApply(b *testing.B) {
	layer := benchLayer(b)
	ways := []struct {
		name  string
		apply func(to string) error
	}{
		{"tar", func(to string) error { return exec.Command("tar", "-C", to, "-xpf", layer).Run() }},
		{"containerd", func(to string) error {
			f, err := os.Open(layer)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = archive.Apply(b.Context(), to, f)
			return err
		}},
		// containerd's own applier computes the digest in the same goroutine.
		{"containerd with digest", func(to string) error {
			f, err := os.Open(layer)
			if err != nil {
				return err
			}
			defer f.Close()
			r := io.TeeReader(f, sha256.New())
			if _, err := archive.Apply(b.Context(), to, r); err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, r)
			return err
		}},
		{"layertar", func(to string) error {
			f, err := os.Open(layer)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = Apply(b.Context(), to, f, ApplyOptions{})
			return err
		}},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(500_000_000)
			used := time.Duration(0)
			for b.Loop() {
				to := b.TempDir()
				before := processorTime(b)
				must(b, way.apply(to))
				b.StopTimer()
				used += processorTime(b) - before
				must(b, os.RemoveAll(to))
				b.StartTimer()
			}
			b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// processorTime returns the processor time of this process and its children, which
// depends less on other processes than the clock.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	total := int64(0)
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		must(b, unix.Getrusage(who, &r))
		total += r.Utime.Nano() + r.Stime.Nano()
	}
	return time.Duration(total)
}

func BenchmarkReplay(b *testing.B) {
	layer, to := benchLayer(b), b.TempDir()
	f, err := os.Open(layer)
	must(b, err)
	defer f.Close()
	applied, err := Apply(b.Context(), to, f, ApplyOptions{})
	must(b, err)
	b.SetBytes(500_000_000)
	for b.Loop() {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		must(b, err)
		must(b, Replay(b.Context(), to, applied.Split.Reader(), null, ""))
		must(b, null.Close())
	}
	b.ReportMetric(float64(len(splitOf(b, applied))), "split-bytes")
}
