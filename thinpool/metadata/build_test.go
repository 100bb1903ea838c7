package metadata

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"thinctl/internal/testkit/need"

	"github.com/google/go-cmp/cmp"
)

// target creates a file of so many metadata blocks.
func target(t testing.TB, blocks uint64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "meta"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(int64(blocks) * int64(blockSize)); err != nil {
		t.Fatal(err)
	}
	return f
}

func builder(t testing.TB, w io.WriterAt, o BuildOptions) *Builder {
	t.Helper()
	b, err := NewBuilder(w, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func leaf(t testing.TB, b *Builder, first, data uint64, n int) Subtree {
	t.Helper()
	var mappings []Mapping
	for i := range uint64(n) {
		mappings = append(mappings, Mapping{Virtual: first + i, Data: data + i, Time: 1})
	}
	s, err := b.Leaf(mappings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestBuildShared(t *testing.T) {
	f := target(t, 20000)
	b := builder(t, f, BuildOptions{DataBlocks: 1 << 20, MetadataBlocks: 20000, Time: 3, TransactionID: 7, UUID: uuid})
	subtree := must[Subtree](t)
	var leaves []Subtree
	for i := range uint64(1000) {
		leaves = append(leaves, leaf(t, b, 100*i, 100*i, 100))
	}
	whole := subtree(b.Tree(leaves))
	other := subtree(b.Tree(append(append(leaves[:500:500], leaf(t, b, 50000, 50000, 252)), leaves[600:]...)))
	empty := subtree(b.Tree(nil))
	small := leaf(t, b, 5, 5, 1)
	roots := []Subtree{whole, other, whole, empty, small, empty, whole, whole}
	for i, root := range roots {
		if err := b.Device(Device{ID: uint32(1000 - i), CreationTime: 2}, root); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Hold(2, 6); err != nil {
		t.Fatal(err)
	}
	for i, root := range roots[2:] {
		if err := b.Device(Device{ID: uint32(1000 - i), CreationTime: 2}, root); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	need.Program(t, "thin_check")
	tool(t, "thin_check", f.Name())
	got, err := ReadSuperblock(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Errorf("superblock (-returned +read):\n%s", diff)
	}
	if got.Time != 3 || got.TransactionID != 7 || got.UUID != uuid || got.Version != 2 ||
		got.DataSpaceMap.Allocated != 100000 {
		t.Errorf("got superblock %+v, want time 3, transaction 7, uuid %x, version 2, 100000 data blocks", got, uuid)
	}
	held, err := HeldRoot(f, s.HeldRoot)
	if err != nil {
		t.Fatal(err)
	}
	if held.Time != 2 || held.TransactionID != 6 || held.DataSpaceMap != (SpaceMap{}) {
		t.Errorf("got held root %+v, want time 2, transaction 6, no data space map", held)
	}
	for root, want := range map[Superblock]int{held: 8, got: 6} {
		if devices, err := Devices(f, root); err != nil || len(devices) != want {
			t.Errorf("got %d devices, %v; want %d", len(devices), err, want)
		}
	}
}

func TestBuildOnTooSmallDevice(t *testing.T) {
	need.Program(t, "thin_check")
	build := func(f *os.File, blocks uint64) error {
		b := builder(t, f, BuildOptions{DataBlocks: 1 << 20, MetadataBlocks: blocks})
		var leaves []Subtree
		for i := range uint64(1000) {
			leaves = append(leaves, leaf(t, b, 100*i, 0, 100))
		}
		if err := b.Device(Device{ID: 1}, must[Subtree](t)(b.Tree(leaves))); err != nil {
			t.Fatal(err)
		}
		_, err := b.Finish()
		return err
	}
	for _, blocks := range []uint64{1, 2, 100, 1000, 1050} {
		f := target(t, 4000)
		var e *SpaceError
		if err := build(f, blocks); !errors.Is(err, ErrNoSpace) || !errors.As(err, &e) || e.Have != blocks {
			t.Fatalf("on %d blocks: got %v, want ErrNoSpace with Have %d", blocks, err, blocks)
		}
		if _, err := ReadSuperblock(f); !errors.Is(err, ErrEmpty) {
			t.Errorf("read superblock: got %v, want ErrEmpty", err)
		}
		if err := build(f, e.Need-1); !errors.Is(err, ErrNoSpace) {
			t.Errorf("one block less than the %d that are needed: got %v, want ErrNoSpace", e.Need, err)
		}
		if err := build(f, e.Need); err != nil {
			t.Errorf("on %d blocks, as many as are needed: %v", e.Need, err)
		}
		tool(t, "thin_check", f.Name())
	}
}
