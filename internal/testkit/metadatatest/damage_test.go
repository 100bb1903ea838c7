package metadatatest

import (
	"bytes"
	"testing"

	"thinctl/thinpool/metadata"
)

func TestEachDamageChangesARichPool(t *testing.T) {
	good, s, err := Rich(3).Image(SaveOptions{DataBlocks: RichDataBlocks, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, d := range Damages() {
		if names[d.Name] {
			t.Errorf("%s twice", d.Name)
		}
		names[d.Name] = true
		bad := good.Clone()
		block, ok, err := d.Apply(bad, 9)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		if ok == bytes.Equal(bad.Bytes, good.Bytes) {
			t.Errorf("%s: applied %v, bytes are changed: %v", d.Name, ok, !bytes.Equal(bad.Bytes, good.Bytes))
		}
		if !ok {
			t.Errorf("%s: a rich pool has nothing to damage", d.Name)
		}
		if block >= s.MetadataBlocks {
			t.Errorf("%s: block %d", d.Name, block)
		}
	}
	t.Logf("%d kinds of damage", len(names))
	if _, _, err := Damages()[0].Apply(&Image{make([]byte, 4*metadata.BlockSize)}, 1); err == nil {
		t.Error("zeros were taken for good metadata")
	}
}
