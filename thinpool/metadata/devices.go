package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// MaxDeviceID is the largest id of a thin device: 24 bits (dm-thin-metadata.h).
const MaxDeviceID = 1<<24 - 1

// timeBits is the number of bits of a mapping that hold the time, below its data block
// (dm-thin-metadata.c, pack_block_time).
const timeBits = 24

// detailsSize is the size of struct disk_device_details of dm-thin-metadata.c.
const detailsSize = 24

// Device is the record of a thin device in a pool's metadata, which does not have its virtual
// size, name or origin.
type Device struct {
	ID              uint32
	MappedBlocks    uint64 // data blocks, including shared ones
	TransactionID   uint64 // the pool's when the device was created
	CreationTime    uint32 // the pool's time when the device was created
	SnapshottedTime uint32 // the pool's time when the device was created or last snapshotted
}

// Devices returns the thin devices under root, ordered by id. root is a held root, or the
// superblock of an inactive pool.
func Devices(r io.ReaderAt, root Superblock) ([]Device, error) {
	var devices []Device
	w := walker{tree: tree{r: r, limit: blockLimit(root), kind: detailsTree}, leaf: func(n node) error {
		for i := range n.entries {
			if n.key(i) > MaxDeviceID {
				return corrupt(n.block, "device id %d is over %d", n.key(i), MaxDeviceID)
			}
			devices = append(devices, decodeDevice(uint32(n.key(i)), n.value(i)))
		}
		return nil
	}}
	if err := w.walk(context.Background(), place{block: root.DetailsRoot}); err != nil {
		return nil, fmt.Errorf("read device details at block %d: %w", root.DetailsRoot, err)
	}
	return devices, nil
}

// blockLimit returns the number of metadata blocks. A held root does not have it.
func blockLimit(root Superblock) uint64 {
	if n := root.MetadataSpaceMap.Blocks; n != 0 && n < MaxBlocks {
		return n
	}
	return MaxBlocks
}

func decodeDevice(id uint32, b []byte) Device {
	le := binary.LittleEndian
	return Device{
		ID:              id,
		MappedBlocks:    le.Uint64(b),
		TransactionID:   le.Uint64(b[8:]),
		CreationTime:    le.Uint32(b[16:]),
		SnapshottedTime: le.Uint32(b[20:]),
	}
}
