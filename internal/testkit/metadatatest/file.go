package metadatatest

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"thinctl/thinpool/metadata"
)

// WriteFile writes the metadata of a pool to a file. Data blocks have 64 KiB. Device 1 has
// 1000 blocks. Its snapshot 2 has 5 of them written again, 10 discarded and 3 added.
// Device 3 is empty. The held root is from before the changes to device 2.
//
// kinds, joined by blanks, select a variant: "unheld" has no held root, "needs check" sets
// the flag, "damage NAME" applies a [Damage], and the others change the superblock.
func WriteFile(path string, kinds ...string) error {
	kind := strings.Join(kinds, " ")
	p := New(1)
	p.Create(1)
	p.Write(1, 0, 1000)
	p.Snapshot(2, 1)
	p.Create(3)
	if kind != "unheld" {
		p.Hold()
	}
	p.Write(2, 100, 5)
	p.Discard(2, 500, 10)
	p.Write(2, 2000, 3)
	m, _, err := p.Image(SaveOptions{NeedsCheck: kind == "needs check", UUID: [16]byte{0xab, 15: 0xcd}})
	if err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(kind, "damage "); ok {
		if err := damage(m, name); err != nil {
			return err
		}
		return os.WriteFile(path, m.Bytes, 0o600)
	}
	super, le := m.Bytes[:metadata.BlockSize], binary.LittleEndian
	switch kind {
	case "", "unheld", "needs check":
	case "magic":
		le.PutUint64(super[32:], 1)
	case "incompat":
		le.PutUint32(super[360:], 4)
	case "version":
		le.PutUint32(super[40:], 3)
	case "huge":
		le.PutUint64(super[192:], 1<<60)
	case "huge data":
		le.PutUint64(super[64:], 1<<50)
	case "flipped":
		super[100] ^= 1
		return os.WriteFile(path, m.Bytes, 0o600)
	case "trees":
		for at := int(metadata.BlockSize); at < len(m.Bytes); at += int(metadata.BlockSize) {
			m.Bytes[at+40] ^= 1
		}
	default:
		return fmt.Errorf("unknown kind of metadata %q", kind)
	}
	metadata.SetChecksum(super, metadata.SuperblockBlock)
	return os.WriteFile(path, m.Bytes, 0o600)
}

// damage applies the damage with that name.
func damage(m *Image, name string) error {
	for _, d := range Damages() {
		if d.Name == name {
			_, ok, err := d.Apply(m, 0)
			if err == nil && !ok {
				err = fmt.Errorf("the metadata has no place for damage %q", name)
			}
			return err
		}
	}
	return fmt.Errorf("unknown damage %q", name)
}
