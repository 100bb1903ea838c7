package metadata

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func readRuns(r io.ReaderAt, id uint32) ([]Run, error) {
	root, err := ReadSuperblock(r)
	if err != nil {
		return nil, err
	}
	var all []Run
	err = Runs(context.Background(), r, root, id, func(run Run) error {
		all = append(all, run)
		return nil
	})
	return all, err
}

func naiveRuns(n *modelNode) []Run {
	var all []Run
	n.entries(func(virtual, value uint64) {
		m := mapping(value)
		if k := len(all) - 1; k >= 0 {
			last := &all[k]
			if last.Virtual+last.Blocks == virtual && last.Data+last.Blocks == m.data() && last.Time == m.time() {
				last.Blocks++
				return
			}
		}
		all = append(all, Run{Virtual: virtual, Data: m.data(), Blocks: 1, Time: m.time()})
	})
	return all
}

func TestRunsReadEachNodeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := drawDevices(t)
		m := pool(devices)
		for id, tree := range devices {
			c := countReads(m)
			got, err := readRuns(c, id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(naiveRuns(tree), got); diff != "" {
				t.Fatalf("device %d: runs (-model +got):\n%s", id, diff)
			}
			nodes := map[*modelNode]bool{}
			tree.nodes(nodes)
			for n := range nodes {
				if times := c.blocks[n.block].Load(); times != 1 {
					t.Fatalf("device %d: got %d reads of block %d, want 1", id, times, n.block)
				}
			}
		}
	})
}

// The mappings use the highest virtual block and the highest data block.
func TestRunsOfHighestBlocks(t *testing.T) {
	end := (&modelNode{}).change([]change{
		{key: 0, value: 1<<64 - 1}, {key: 1<<64 - 2, value: (1<<40-2)<<24 | 5}, {key: 1<<64 - 1, value: (1<<40-1)<<24 | 5}})
	start := (&modelNode{}).change([]change{{key: 0, value: 0}, {key: 1<<64 - 1, value: 7 << 24}})
	m := pool(map[uint32]*modelNode{1: end, 2: start})
	got, err := readRuns(m.reader(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []Run{{0, 1<<40 - 1, 1, 1<<24 - 1}, {1<<64 - 2, 1<<40 - 2, 2, 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	differ, err := deltaOf(countReads(m), 1, 2, DeltaOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(naive(end, start, DeltaOptions{}), differ); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
}

func TestRunsStop(t *testing.T) {
	many := map[uint64]uint64{}
	for i := range uint64(3000) {
		many[2*i] = i << 24
	}
	m := pool(map[uint32]*modelNode{1: (&modelNode{}).change(changesOf(many))})
	root, err := ReadSuperblock(m.reader())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	calls := 0
	stop := func(Run) error { calls++; return enough }
	if err := Runs(context.Background(), m.reader(), root, 1, stop); !errors.Is(err, enough) || calls != 1 {
		t.Errorf("error of visit: got %[2]v after %[1]d calls, want it after 1", calls, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls = 0
	err = Runs(ctx, m.reader(), root, 1, func(Run) error { calls++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || calls > 1000 {
		t.Errorf("canceled: got %[2]v after %[1]d calls, want context.Canceled", calls, err)
	}
	if err := Runs(context.Background(), m.reader(), root, 2, stop); !errors.Is(err, ErrNoDevice) {
		t.Errorf("missing device: got %v, want ErrNoDevice", err)
	}
}
