package metadata

import (
	"encoding/binary"
	"errors"
	"testing"

	"thinctl/fault"

	"github.com/google/go-cmp/cmp"
)

// patched writes bytes into the image of corruptible and corrects all checksums, so that
// other checks are reached. A patch is block, offset (2 bytes), value.
func patched(patches []byte, cut bool) *image {
	m, _, _ := corruptible()
	blocks := uint64(len(m.b) / blockSize)
	for ; len(patches) >= 4; patches = patches[4:] {
		m.block(uint64(patches[0]) % blocks)[binary.LittleEndian.Uint16(patches[1:])%4096] = patches[3]
	}
	for n := uint64(1); n < blocks-1; n++ {
		setChecksum(m.block(n), nodeSalt)
	}
	setChecksum(m.block(0), superblockSalt)
	setChecksum(m.block(blocks-1), superblockSalt)
	if cut {
		m.b = m.b[:len(m.b)*2/3]
	}
	return m
}

func addPatches(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add([]byte{}, true)
	f.Add([]byte{3, 16, 0, 0, 4, 16, 0, 255}, false)                // entries
	f.Add([]byte{3, 20, 0, 3, 4, 23, 0, 8}, false)                  // max
	f.Add([]byte{5, 24, 0, 24, 11, 4, 0, 2, 12, 4, 0, 1}, false)    // value size, flags
	f.Add([]byte{13, 80, 0, 13, 14, 80, 0, 15}, false)              // children
	f.Add([]byte{13, 80, 0, 1, 13, 88, 0, 1}, false)                // one child twice
	f.Add([]byte{3, 39, 0, 255, 2, 32, 0, 0, 2, 40, 0, 0}, false)   // keys
	f.Add([]byte{0, 64, 1, 3, 0, 192, 0, 255, 0, 199, 0, 1}, false) // the root, the space map's size
}

// expand converts runs to mappings.
func expand(all []Run) map[uint64]uint64 {
	blocks := map[uint64]uint64{}
	for _, r := range all {
		for i := range r.Blocks {
			blocks[r.Virtual+i] = r.Data + i
		}
	}
	return blocks
}

func FuzzRuns(f *testing.F) {
	addPatches(f)
	f.Fuzz(func(t *testing.T, patches []byte, cut bool) {
		m := patched(patches, cut)
		for id := range uint32(4) {
			all, err := readRuns(m.reader(), id)
			if err != nil && !sentinel(err) {
				t.Fatal(err)
			}
			var sum uint64
			for i, r := range all {
				if sum += r.Blocks; i > 0 && r.Virtual < all[i-1].Virtual+all[i-1].Blocks || r.Blocks == 0 {
					t.Fatalf("got run %+v after %+v", r, all[i-1])
				}
			}
			if most := uint64(len(m.b)/blockSize) * 252; sum > most {
				t.Fatalf("got %d mappings from %d bytes of metadata", sum, len(m.b))
			}
		}
	})
}

// FuzzDelta compares Delta with the difference of all mappings, if both devices can be read.
func FuzzDelta(f *testing.F) {
	addPatches(f)
	f.Fuzz(func(t *testing.T, patches []byte, cut bool) {
		m := patched(patches, cut)
		var all [3]map[uint64]uint64
		for i := range all {
			runs, err := readRuns(m.reader(), uint32(i+1))
			if err == nil {
				all[i] = expand(runs)
			}
		}
		for l := range all {
			for r := range all {
				for _, o := range []DeltaOptions{{}, {Same: true, Data: true}} {
					got, err := deltaOf(countReads(m), uint32(l+1), uint32(r+1), o)
					if err != nil && (!sentinel(err) || all[l] != nil && all[r] != nil) {
						t.Fatalf("devices %d and %d: %v", l+1, r+1, err)
					}
					if all[l] == nil || all[r] == nil {
						continue
					}
					if diff := cmp.Diff(classify(all[l], all[r], o), got); diff != "" {
						t.Fatalf("devices %d and %d: delta (-all mappings +got):\n%s", l+1, r+1, diff)
					}
				}
			}
		}
	})
}

func sentinel(err error) bool {
	for _, kind := range []error{ErrChecksum, ErrCorrupt, ErrTruncated, ErrNoDevice, fault.Unsupported, ErrNotMetadata,
		ErrEmpty} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
