package metadatatest

import (
	"os"
	"path/filepath"
	"testing"

	"thinctl/thinpool/metadata"
)

func TestLarge(t *testing.T) {
	for _, l := range []Large{
		{Seed: 1, Families: 3, Devices: 10, Mappings: 20000, Changes: 20},
		{Seed: 2, Families: 1, Devices: 2, Mappings: 300000, Changes: 5, Shuffle: true},
		{Seed: 3, Families: 40, Devices: 1, Mappings: 3, Run: 1},
		{Seed: 4, Families: 2, Devices: 30, Mappings: 3000, Changes: 1000, Fill: 252, Shuffle: true},
	} {
		m := &Image{}
		all := make(map[uint32]Usage)
		s, err := l.Save(m, func(family map[uint32]Usage) {
			for id, u := range family {
				all[id] = u
			}
		})
		if err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		if err := m.Truncate(int64(s.MetadataBlocks) * int64(metadata.BlockSize)); err != nil {
			t.Fatal(err)
		}
		thinCheck(t, m)
		devices, err := metadata.Devices(m, s)
		if err != nil || len(devices) != l.Families*l.Devices || len(all) != len(devices) {
			t.Fatalf("%+v: got %d devices, usage of %d, %v; want %d of both", l, len(devices), len(all), err,
				l.Families*l.Devices)
		}
		for _, d := range devices {
			if d.MappedBlocks != all[d.ID].Mapped {
				t.Errorf("%+v: device %d: got %d mapped blocks, want usage %+v", l, d.ID, d.MappedBlocks, all[d.ID])
			}
		}
	}
}

func BenchmarkLarge(b *testing.B) {
	l := Large{Seed: 1, Families: 50, Devices: 4, Mappings: 150000, Changes: 95, Shuffle: true}
	path := filepath.Join(b.TempDir(), "meta")
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Save(f, nil); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	b.ReportMetric(float64(l.StoredMappings())*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmappings/s")
}
