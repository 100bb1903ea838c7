package metadata_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

// rich has free space for each damage.
func rich(seed uint64) metadatatest.SaveOptions {
	return metadatatest.SaveOptions{Shuffle: seed > 0, DataBlocks: metadatatest.RichDataBlocks, MetadataBlocks: 3000}
}

// apply damages the image. It tries several seeds, because a seed may choose places that have
// nothing to damage.
func apply(t *testing.T, d metadatatest.Damage, image *metadatatest.Image, seed uint64) uint64 {
	t.Helper()
	for try := range uint64(20) {
		if block, ok, err := d.Apply(image, seed+100*try); err != nil {
			t.Fatal(err)
		} else if ok {
			return block
		}
	}
	t.Fatal("the damage does not apply to any place")
	return 0
}

// Check finds each damage with the right severity.
func TestCheckFindsEachDamage(t *testing.T) {
	for seed := range uint64(2) {
		image, s, err := metadatatest.Rich(seed).Image(rich(seed))
		if err != nil {
			t.Fatal(err)
		}
		blocks := s.MetadataSpaceMap.Blocks
		report, err := metadata.Check(t.Context(), image, metadata.CheckOptions{Blocks: blocks})
		if err != nil || len(report.Findings) > 0 || !report.Complete {
			t.Fatalf("check of the sound image: got findings %+v, %v; want none", report.Findings, err)
		}
		for _, d := range metadatatest.Damages() {
			t.Run(fmt.Sprint(d.Name, " ", seed), func(t *testing.T) {
				bad := image.Clone()
				block := apply(t, d, bad, seed)
				report, err := metadata.Check(t.Context(), bad, metadata.CheckOptions{Blocks: uint64(len(bad.Bytes)) / 4096})
				if err != nil {
					if block > 1 || !errors.Is(err, metadata.ErrEmpty) &&
						!errors.Is(err, metadata.ErrNotMetadata) && !errors.Is(err, metadata.ErrTruncated) {
						t.Errorf("block %d: got error %v, want a report", block, err)
					}
					return
				}
				worst, found := report.Worst()
				want := metadata.Damage
				if d.Leak {
					want = metadata.Leak
				} else if d.Flag {
					want = metadata.Notice
				}
				if !found || worst != want {
					t.Errorf("block %d: got severity %s (%v), want %s: %v", block, worst, found, want, report.Findings)
				}
				if !bytesEqual(bad, image) && report.Usage != nil && want == metadata.Damage {
					t.Error("got the usage of damaged metadata, want nil")
				}
			})
		}
	}
}

func bytesEqual(a, b *metadatatest.Image) bool { return slices.Equal(a.Bytes, b.Bytes) }

// After each damage the repaired metadata is sound for thin_check and Check, and each
// device has only mappings that it had before.
func TestRepairAfterEachDamage(t *testing.T) {
	need.Program(t, "thin_check")
	dir := t.TempDir()
	for seed := range uint64(1) {
		pool := metadatatest.Rich(seed)
		image, s, err := pool.Image(rich(seed))
		if err != nil {
			t.Fatal(err)
		}
		had := contents(t, image, s)
		blocks := s.MetadataSpaceMap.Blocks + 500
		for i, d := range metadatatest.Damages() {
			t.Run(fmt.Sprint(d.Name, " ", seed), func(t *testing.T) {
				bad := image.Clone()
				apply(t, d, bad, seed)
				before := bad.Clone()
				path := filepath.Join(dir, "repaired")
				made := &metadatatest.Image{Bytes: make([]byte, blocks*4096)}
				repaired, err := metadata.Repair(t.Context(), bad, made, metadata.RepairOptions{
					SourceBlocks: s.MetadataSpaceMap.Blocks, DataBlocks: metadatatest.RichDataBlocks, Blocks: blocks})
				if !bytesEqual(before, bad) {
					t.Error("the damaged metadata has changed")
				}
				if err != nil {
					if _, superblock := metadata.ReadSuperblock(bad); superblock == nil {
						t.Errorf("repair: %v", err)
					}
					return
				}
				if i%5 == 0 { // it takes longer than the rest of the test
					if err := os.WriteFile(path, made.Bytes, 0o600); err != nil {
						t.Fatal(err)
					}
					metadata.Tool(t, "thin_check", path)
				}
				report, err := metadata.Check(t.Context(), made, metadata.CheckOptions{Blocks: blocks})
				if err != nil || len(report.Findings) > 0 {
					t.Errorf("check after the repair: got findings %v, %v; want none", report.Findings, err)
				}
				compareRepaired(t, d.Name, had, contents(t, made, repaired.Superblock), repaired)
			})
		}
	}
}

// contents returns the mappings of each device.
func contents(t *testing.T, image *metadatatest.Image, s metadata.Superblock) map[uint32][]metadata.Mapping {
	t.Helper()
	devices, err := metadata.Devices(image, s)
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint32][]metadata.Mapping{}
	for _, d := range devices {
		var one []metadata.Mapping
		err := metadata.Runs(t.Context(), image, s, d.ID, func(r metadata.Run) error {
			for i := range r.Blocks {
				one = append(one, metadata.Mapping{Virtual: r.Virtual + i, Data: r.Data + i, Time: r.Time})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		all[d.ID] = one
	}
	return all
}

// compareRepaired checks that the devices have only mappings that they had before, or
// that the damage created, and that the counts of the repair are correct.
func compareRepaired(t *testing.T, damage string, had, has map[uint32][]metadata.Mapping, repaired metadata.Repaired) {
	t.Helper()
	created := strings.HasPrefix(damage, "mapping/") ||
		strings.HasPrefix(damage, "details/") || strings.HasPrefix(damage, "key ")
	kept := uint64(0)
	for id, mappings := range has {
		kept += uint64(len(mappings))
		old := had[id]
		for _, m := range mappings {
			for len(old) > 0 && old[0].Virtual < m.Virtual {
				old = old[1:]
			}
			if (len(old) == 0 || old[0] != m) && !created {
				t.Fatalf("device %d: got mapping %+v, which it did not have before", id, m)
			}
		}
	}
	counted := uint64(0)
	for _, d := range repaired.Devices {
		counted += d.Kept
	}
	if counted != kept {
		t.Errorf("got %d mappings reported as kept, want %d", counted, kept)
	}
}
