package metadata_test

import (
	"context"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/internal/testkit/need"
	"thinctl/thinpool/metadata"
)

type xmlDevice struct {
	ID   uint32   `xml:"dev_id,attr"`
	Runs []xmlRun `xml:",any"`
}

// xmlRun is a range_mapping or a single_mapping.
type xmlRun struct {
	Begin     uint64 `xml:"origin_begin,attr"`
	Block     uint64 `xml:"origin_block,attr"`
	DataBegin uint64 `xml:"data_begin,attr"`
	DataBlock uint64 `xml:"data_block,attr"`
	Length    uint64 `xml:"length,attr"`
	Time      uint32 `xml:"time,attr"`
}

func (r xmlRun) run() metadata.Run {
	return metadata.Run{Virtual: r.Begin + r.Block, Data: r.DataBegin + r.DataBlock, Blocks: max(r.Length, 1),
		Time: r.Time}
}

func dumpRuns(t metadata.Fataler, path string, flags ...string) map[uint32][]metadata.Run {
	t.Helper()
	var dumped struct {
		Devices []xmlDevice `xml:"device"`
	}
	if err := xml.Unmarshal([]byte(metadata.Tool(t, "thin_dump", append(flags, path)...)), &dumped); err != nil {
		t.Fatalf("%v", err)
	}
	all := map[uint32][]metadata.Run{}
	for _, d := range dumped.Devices {
		all[d.ID] = nil
		for _, r := range d.Runs {
			all[d.ID] = append(all[d.ID], r.run())
		}
	}
	return all
}

func runJoiner(t *rapid.T, r io.ReaderAt, root metadata.Superblock, id uint32) (all []metadata.Run) {
	t.Helper()
	err := metadata.Runs(context.Background(), r, root, id, func(one metadata.Run) error {
		all = append(all, one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func delta(t *rapid.T, r io.ReaderAt, root metadata.Superblock, left, right uint32,
	o metadata.DeltaOptions) (all []metadata.Difference) {
	t.Helper()
	err := metadata.Delta(context.Background(), r, root, left, right, o, func(d metadata.Difference) error {
		all = append(all, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func modelDelta(s metadatatest.State, left, right uint32, o metadata.DeltaOptions) []metadata.Difference {
	values := [2]map[uint64]uint64{{}, {}}
	for i, id := range []uint32{left, right} {
		s.Each(id, func(m metadata.Mapping) { values[i][m.Virtual] = m.Data })
	}
	return metadata.Classify(values[0], values[1], o)
}

// Runs and Delta return what the model, thin_dump and thin_delta have, for random pools
// with shared nodes, live and held, and for a copy that thin_restore made without
// sharing.
func TestRunsAndDeltaAgreeWithTools(t *testing.T) {
	need.Program(t, "thin_dump")
	dir := t.TempDir()
	path, copied, text := filepath.Join(dir, "meta"), filepath.Join(dir, "copy"), filepath.Join(dir, "xml")
	rapid.Check(t, func(t *rapid.T) {
		p := metadatatest.Random(rapid.Uint64().Draw(t, "seed"))
		m, live, err := p.Image(metadatatest.SaveOptions{Shuffle: rapid.Bool().Draw(t, "shuffle")})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, m.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		agree(t, path, m, live, p.Live(), rapid.Bool().Draw(t, "data"))
		if state, ok := p.Held(); ok {
			held, err := metadata.HeldRoot(m, live.HeldRoot)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, path, m, held, state, rapid.Bool().Draw(t, "data"), "-m")
		}

		if rapid.IntRange(0, 3).Draw(t, "only the original") > 0 {
			return
		}
		metadata.Tool(t, "thin_dump", "-o", text, path)
		if err := os.WriteFile(copied, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(copied, 64<<20); err != nil {
			t.Fatal(err)
		}
		metadata.Tool(t, "thin_restore", "-i", text, "-o", copied)
		unshared, err := metadata.Open(copied)
		if err != nil {
			t.Fatal(err)
		}
		defer unshared.Close()
		root, err := metadata.ReadSuperblock(unshared)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, copied, unshared, root, p.Live(), rapid.Bool().Draw(t, "data"))
	})
}

func agree(t *rapid.T, path string, r io.ReaderAt, root metadata.Superblock, state metadatatest.State, data bool,
	flags ...string) {
	ids := state.IDs()
	dumped := dumpRuns(t, path, flags...)
	for _, id := range ids {
		if diff := cmp.Diff(dumped[id], runJoiner(t, r, root, id)); diff != "" {
			t.Fatalf("device %d: runs (-thin_dump +got):\n%s", id, diff)
		}
	}
	o := metadata.DeltaOptions{Same: true, Data: data}
	for _, left := range ids {
		for _, right := range ids {
			got := delta(t, r, root, left, right, o)
			if diff := cmp.Diff(modelDelta(state, left, right, o), got); diff != "" {
				t.Fatalf("devices %d and %d: delta (-model +got):\n%s", left, right, diff)
			}
			if diff := cmp.Diff(metadata.Mirror(got), delta(t, r, root, right, left, o)); diff != "" {
				t.Fatalf("devices %d and %d: reversed delta (-want +got):\n%s", left, right, diff)
			}
		}
	}
	if len(ids) == 0 {
		return
	}
	left, right := rapid.SampledFrom(ids).Draw(t, "left"), rapid.SampledFrom(ids).Draw(t, "right")
	if data {
		flags = append(flags, "--verbose")
	}
	want := metadata.ThinDelta(t, path, left, right, flags...)
	got := metadata.AsThinDelta(delta(t, r, root, left, right, o), data)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("devices %d and %d: delta (-thin_delta +got):\n%s", left, right, diff)
	}
}
