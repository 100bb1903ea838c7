package dmtest

import (
	"encoding/binary"
	"fmt"

	"thinctl/units"
)

// Contents holds a pool's metadata, as last committed. It stands for the trees, which
// the fake does not write to the metadata disk.
type Contents struct {
	Block                      units.Sectors
	UUID                       [16]byte
	TransactionID              uint64
	Time                       uint32
	NeedsCheck                 bool
	DataBlocks, MetadataBlocks uint64
	Devices                    []Device

	HeldRoot uint64 // root block of the metadata snapshot, 0 for none
	// Held is the metadata snapshot. No other snapshot has its Number.
	Held struct {
		Number, TransactionID uint64
		Time                  uint32
		Devices               []Device
	}
}

// Device is a thin device in Contents.
type Device struct {
	ID                            uint32
	CreationTime, SnapshottedTime uint32
	Mappings                      []Mapping // by Virtual
}

// Mapping is one mapped block of a Device.
type Mapping struct {
	Virtual, Data uint64
	Time          uint32
}

// Contents returns the metadata of the pool on a metadata disk.
func (s *Store) Contents(disk Disk) (Contents, error) {
	b := make([]byte, metadataBlock)
	if _, err := disk.ReadAt(b, 0); err != nil {
		return Contents{}, err
	}
	t, err := checkSuperblock(b)
	if err != nil {
		return Contents{}, fmt.Errorf("dmtest: superblock: %w", err)
	}
	at, ok := s.get(t)
	if !ok {
		return Contents{}, fmt.Errorf("dmtest: metadata is of another store")
	}
	c := Contents{
		Block: at.blockSectors, UUID: [16]byte(b[offUUID : offUUID+16]), TransactionID: at.trans, Time: at.time,
		NeedsCheck: binary.LittleEndian.Uint32(b[offFlags:])&needsCheckFlag != 0,
		DataBlocks: at.dataBlocks, MetadataBlocks: at.metaBlocks, Devices: contentsOf(at.volumes),
	}
	if h := at.held; h != nil {
		c.HeldRoot = at.heldRoot
		c.Held.Number, c.Held.TransactionID, c.Held.Time = h.number, h.trans, h.time
		c.Held.Devices = contentsOf(h.volumes)
	}
	return c, nil
}

func contentsOf(volumes trie[volume]) []Device {
	devices := make([]Device, 0, volumes.len())
	volumes.all(func(id uint64, v volume) bool {
		device := Device{ID: uint32(id), CreationTime: v.created, SnapshottedTime: v.snapshotted}
		v.blocks.all(func(virtual uint64, at mapping) bool {
			device.Mappings = append(device.Mappings, Mapping{Virtual: virtual, Data: at.block, Time: at.time})
			return true
		})
		devices = append(devices, device)
		return true
	})
	return devices
}
