package metadata_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// FuzzDamage writes bytes into a sound image and corrects the checksum of each block, so
// that other checks are reached. A patch is block (2 bytes), offset (2 bytes), value.
func FuzzDamage(f *testing.F) {
	f.Add(uint64(1), []byte{}, false)
	f.Add(uint64(2), []byte{1, 0, 16, 0, 255}, false)                                // entries
	f.Add(uint64(3), []byte{2, 0, 4, 0, 1, 3, 0, 4, 0, 1}, false)                    // leaves into internal nodes
	f.Add(uint64(4), []byte{1, 0, 16, 8, 3, 2, 0, 16, 8, 2}, false)                  // pointers
	f.Add(uint64(5), []byte{0, 0, 64, 0, 1, 0, 0, 192, 0, 9}, true)                  // the space maps' sizes
	f.Add(uint64(6), []byte{0, 0, 71, 0, 255, 0, 0, 199, 0, 255}, false)             // very large sizes
	f.Add(uint64(7), []byte{5, 0, 33, 0, 77, 6, 0, 40, 0, 1, 7, 0, 20, 0, 3}, false) // keys, max
	images := map[uint64]*metadatatest.Image{}
	f.Fuzz(func(t *testing.T, seed uint64, patches []byte, cut bool) {
		seed %= 16
		if images[seed] == nil {
			image, _, err := metadatatest.Random(seed).Image(metadatatest.SaveOptions{Shuffle: seed%2 == 0})
			if err != nil {
				t.Fatal(err)
			}
			images[seed] = image
		}
		image := images[seed].Clone()
		blocks := uint64(len(image.Bytes) / 4096)
		for ; len(patches) >= 5; patches = patches[5:] {
			b := image.Bytes[uint64(binary.LittleEndian.Uint16(patches))%blocks*4096:][:4096]
			kind := metadata.KindOf(b)
			b[binary.LittleEndian.Uint16(patches[2:])%4096] = patches[4]
			if kind != 0 {
				metadata.SetChecksum(b, kind)
			}
		}
		if cut {
			image.Bytes = image.Bytes[:len(image.Bytes)-2048]
		}
		examine(t, image)
	})
}

// examine compares the results of all readers for one image.
func examine(t *testing.T, image *metadatatest.Image) {
	ctx, blocks := context.Background(), uint64(len(image.Bytes)/4096)
	report, err := metadata.Check(ctx, image, metadata.CheckOptions{Blocks: blocks})
	if err != nil {
		return
	}
	s, err := metadata.ReadSuperblock(image)
	if err != nil {
		return
	}
	m, err := metadata.Scan(ctx, image, s, metadata.ScanOptions{Workers: 2})
	worst, found := report.Worst()
	if err == nil {
		u := m.Usage()
		if !found && s.HeldRoot == 0 && u.Used != s.DataSpaceMap.Allocated {
			t.Errorf("got %d data blocks used and no findings, want %d used", u.Used, s.DataSpaceMap.Allocated)
		}
		if u.Exclusive+u.Shared != u.Used {
			t.Errorf("got usage %+v, want exclusive + shared = used", u)
		}
		last := metadata.Span{}
		if err := m.Layout(ctx, func(span metadata.Span) error {
			if span.Begin != last.Begin+last.Blocks {
				t.Errorf("got span %+v after %+v", span, last)
			}
			last = span
			return nil
		}); err != nil {
			t.Errorf("layout after the scan: %v", err)
		}
	} else if !found || worst != metadata.Damage {
		t.Errorf("scan: %v; got findings %v, want damage", err, report.Findings)
	}
	made := &metadatatest.Image{}
	o := metadata.RepairOptions{SourceBlocks: blocks, Blocks: 2*blocks + 200}
	if _, err := metadata.Repair(ctx, image, made, o); err != nil {
		if !errors.Is(err, metadata.ErrCorrupt) && !errors.Is(err, metadata.ErrNoSpace) &&
			!errors.Is(err, metadata.ErrTruncated) {
			t.Errorf("repair: %v", err)
		}
		return
	}
	if err := made.Truncate(int64(2*blocks+200) * 4096); err != nil {
		t.Fatal(err)
	}
	after, err := metadata.Check(ctx, made, metadata.CheckOptions{Blocks: 2*blocks + 200})
	if worst, _ := after.Worst(); err != nil || worst > metadata.Notice {
		t.Errorf("check after the repair: got findings %v, %v; want at most notices", after.Findings, err)
	}
}
