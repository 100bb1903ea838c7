package metadata

import (
	"encoding/binary"
	"testing"
)

// A device with a cycle in its tree does not affect a device that shares its sound leaves.
func TestCycleDoesNotAffectOtherDevices(t *testing.T) {
	f := target(t, 2000)
	b := builder(t, f, BuildOptions{DataBlocks: 1 << 16, MetadataBlocks: 2000})
	subtree := must[Subtree](t)
	var leaves []Subtree
	for i := range uint64(100) {
		leaves = append(leaves, leaf(t, b, 100*i, 100*i, 100))
	}
	sound := subtree(b.Node(leaves))
	bad := subtree(b.Node(append([]Subtree{leaf(t, b, 0, 20000, 100)}, leaves[1:]...)))
	for id, root := range []Subtree{sound, bad} {
		if err := b.Device(Device{ID: uint32(id)}, root); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Finish(); err != nil {
		t.Fatal(err)
	}
	node := newBlock()
	if err := readBlock(f, bad.Block(), node); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(node[nodeHeader+8*252:], bad.Block()) // its first child is the node itself
	setChecksum(node, nodeSalt)
	if _, err := f.WriteAt(node, int64(bad.Block())*int64(blockSize)); err != nil {
		t.Fatal(err)
	}
	repaired, err := Repair(t.Context(), f, target(t, 2000), RepairOptions{SourceBlocks: 2000})
	if err != nil {
		t.Fatal(err)
	}
	if d := repaired.Devices; len(d) != 2 || d[0].Kept != 10000 || d[0].Lost != 0 || d[1].Lost == 0 {
		t.Errorf("got repaired devices %+v, want device 0 with 10000 mappings kept, device 1 with some lost", d)
	}
	cycles := 0
	for _, found := range repaired.Findings {
		if found.Code == CodeCircle {
			cycles++
		}
	}
	if cycles != 1 {
		t.Errorf("got %d findings of cycles, want 1: %v", cycles, repaired.Findings)
	}
}
