package metadata_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// largePair returns a device of 20 million mappings in runs of about 16 blocks (1), a snapshot
// with 2,000 blocks written in 80 places (2), and one with 2,000 blocks written in as many
// places (3).
func largePair(b *testing.B) (*metadata.File, metadata.Superblock) {
	b.Helper()
	const mappings = 20_000_000
	p := metadatatest.New(1)
	p.Load(1, mappings, 16, 126)
	p.Snapshot(2, 1)
	p.Snapshot(3, 1)
	random := rand.New(rand.NewPCG(1, 1))
	for range 80 {
		p.Write(2, random.Uint64N(mappings), 25)
	}
	for range 2000 {
		p.Write(3, random.Uint64N(mappings), 1)
	}
	// The variable keeps the file, to measure the tools on it.
	path := filepath.Join(b.TempDir(), "meta")
	if keep := os.Getenv("THINCTL_BENCH_METADATA"); keep != "" {
		path = keep
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	root, err := p.Save(f, metadatatest.SaveOptions{})
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	m, err := metadata.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	return m, root
}

// meter counts the bytes that are read.
type meter struct {
	*metadata.File
	bytes atomic.Int64
}

func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	m.bytes.Add(int64(len(p)))
	return m.File.ReadAt(p, off)
}

func BenchmarkLargePair(b *testing.B) {
	file, root := largePair(b)
	ctx := context.Background()
	measure := func(name string, do func(*meter) (uint64, error)) {
		b.Run(name, func(b *testing.B) {
			m := &meter{File: file}
			var blocks uint64
			for b.Loop() {
				n, err := do(m)
				if err != nil {
					b.Fatal(err)
				}
				blocks = n
			}
			b.ReportMetric(float64(m.bytes.Load())/float64(metadata.BlockSize)/float64(b.N), "reads/op")
			b.ReportMetric(float64(blocks), "found")
		})
	}
	for id, name := range map[uint32]string{2: "freed, 2000 blocks in 80 places", 3: "freed, 2000 blocks in 2000 places"} {
		measure(name, func(m *meter) (uint64, error) { return metadata.Freed(ctx, m, root, id) })
	}
	measure("freed, with a scan", func(m *meter) (uint64, error) {
		all, err := metadata.Scan(ctx, m, root, metadata.ScanOptions{})
		if err != nil {
			return 0, err
		}
		return all.Freed(ctx, 2)
	})
	measure("Runs", func(m *meter) (n uint64, err error) {
		err = metadata.Runs(ctx, m, root, 1, func(r metadata.Run) error { n += r.Blocks; return nil })
		return n, err
	})
	for _, c := range []struct {
		name  string
		right uint32
		o     metadata.DeltaOptions
	}{
		{"DeltaOf80Places", 2, metadata.DeltaOptions{}},
		{"DeltaOf2000Places", 3, metadata.DeltaOptions{}},
		{"DeltaAndSame", 2, metadata.DeltaOptions{Same: true}},
	} {
		measure(c.name, func(m *meter) (n uint64, err error) {
			err = metadata.Delta(ctx, m, root, 1, c.right, c.o, func(d metadata.Difference) error {
				if d.Kind != metadata.Same {
					n += d.Blocks
				}
				return nil
			})
			return n, err
		})
	}
}
