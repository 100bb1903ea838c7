package metadatatest

import (
	"bytes"
	"testing"

	"thinctl/thinpool/metadata"
)

func TestEachDamageAppliesToRichPool(t *testing.T) {
	good, s, err := Rich(3).Image(SaveOptions{DataBlocks: RichDataBlocks, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, d := range Damages() {
		if names[d.Name] {
			t.Errorf("got damage %q twice", d.Name)
		}
		names[d.Name] = true
		bad := good.Clone()
		block, ok, err := d.Apply(bad, 9)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		if ok == bytes.Equal(bad.Bytes, good.Bytes) {
			t.Errorf("%s: got ok = %v, want %v (true if the image changed)", d.Name, ok, !ok)
		}
		if !ok {
			t.Errorf("%s: got no place to damage in a rich pool", d.Name)
		}
		if block >= s.MetadataBlocks {
			t.Errorf("%s: got block %d, want one below %d", d.Name, block, s.MetadataBlocks)
		}
	}
	t.Logf("%d kinds of damage", len(names))
	if _, _, err := Damages()[0].Apply(&Image{make([]byte, 4*metadata.BlockSize)}, 1); err == nil {
		t.Error("got no error for a device of zeros")
	}
}
