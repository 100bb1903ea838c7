package metadatatest

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"thinctl/thinpool/metadata"
)

// WriteFile writes the metadata of a pool with data blocks of 64 KiB: device 1 with 1000
// blocks; its snapshot 2, with 5 written again, 10 discarded and 3 added; empty
// device 3. The metadata snapshot is from before device 2 was written to.
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
		return fmt.Errorf("metadata %q is not known", kind)
	}
	metadata.SetChecksum(super, metadata.SuperblockBlock)
	return os.WriteFile(path, m.Bytes, 0o600)
}

// damage applies the damage of that name.
func damage(m *Image, name string) error {
	for _, d := range Damages() {
		if d.Name == name {
			if _, ok, err := d.Apply(m, 0); err != nil || !ok {
				return fmt.Errorf("damage %q was not done: %w", name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("damage %q is not known", name)
}
