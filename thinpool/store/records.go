package store

import (
	"slices"
	"time"

	"thinctl/internal/disk"
	"thinctl/units"
)

// SchemaVersion is the layout this program writes and the only one it reads.
const SchemaVersion = 1

// Pool is the pool's own record.
type Pool struct {
	Schema   int         `json:"schema"`
	UUID     string      `json:"uuid"`
	Name     string      `json:"name"`
	Created  time.Time   `json:"created"`
	Data     Backing     `json:"data"`
	Metadata Backing     `json:"metadata"`
	Block    units.Bytes `json:"block"`
	BaseSize units.Bytes `json:"base_size"` // of a volume made without a size
	LowWater uint64      `json:"low_water"` // free data blocks that raise an event

	SkipZeroing  bool    `json:"skip_zeroing,omitempty"`
	ErrorIfFull  bool    `json:"error_if_full,omitempty"`
	Reserve      Reserve `json:"reserve"`
	Activated    bool    `json:"activated"` // what the operator last asked for
	DirectIO     bool    `json:"direct_io"`
	Preallocated bool    `json:"preallocated,omitempty"`
	// Generation counts the pool's activations, as the mark on its data does.
	// Zero: the data has no mark yet.
	Generation uint64 `json:"generation,omitempty"`
}

// Backing is where blocks lie: a sparse file of ours behind a loop device, or
// a block device.
type Backing struct {
	// Path is relative to the pool's directory for a file of the pool. For a device it is the
	// last known path.
	Path string      `json:"path"`
	Loop bool        `json:"loop"`
	Size units.Bytes `json:"size"`
	// Identity is what a device is found by, under whatever path.
	Identity disk.Identity `json:"identity,omitzero"`
	// Sector is the logical sector size that the loop device had when the pool
	// was made. A file system made on one size does not mount on a larger one,
	// so the file gets the same wherever it is moved.
	Sector units.Bytes `json:"sector,omitempty"`
}

// Reserve is what admission keeps free, in percent; zero reserves nothing.
type Reserve struct {
	Data     int `json:"data"`
	Metadata int `json:"metadata"`
	Host     int `json:"host"` // of the file system under sparse files
}

// Volume is a thin volume's record.
type Volume struct {
	Name     string      `json:"name"`
	ID       uint32      `json:"id"`
	Size     units.Bytes `json:"size"`
	Origin   string      `json:"origin,omitempty"` // the name that its origin had
	OriginID uint32      `json:"origin_id,omitempty"`
	Created  time.Time   `json:"created"`
	Tx       uint64      `json:"tx"`
	// For says what the volume is kept for, where a package above the pool keeps
	// it; "" is a volume of the user's own.
	For string `json:"for,omitempty"`
	// ReadOnly volumes are never written again: their devices refuse it.
	ReadOnly bool `json:"read_only,omitempty"`
}

// Tombstone is a removed volume whose blocks are still in the pool.
type Tombstone struct {
	Volume
	Removed time.Time `json:"removed"`
}

// Reading says that a process reads the active pool's metadata through a
// snapshot that the kernel holds for it. It is written before the kernel is
// asked for the snapshot, so that one which a killed process left is known for
// the pool's own.
type Reading struct {
	Process int       `json:"process"`
	Started time.Time `json:"started"`
	// Transaction is the pool's id when the snapshot was asked for.
	Transaction uint64 `json:"transaction"`
	// Block is where the snapshot's superblock lies and Digest the SHA-256 of
	// it; 0 and nil until known.
	Block  uint64 `json:"block,omitempty"`
	Digest []byte `json:"digest,omitempty"`
}

// Pending says which change was begun for transaction id Tx. While the pool's
// id is below Tx, the change did not happen and its volumes must go.
type Pending struct {
	Tx     uint64 `json:"tx"`
	Volume string `json:"volume"`
	ID     uint32 `json:"id"`
	// Origin is the device id of a snapshot's origin: a process killed in
	// between may have left it suspended.
	Origin uint32 `json:"origin,omitempty"`
	// More are those of the same change besides the first.
	More []PendingVolume `json:"more,omitempty"`
	// Documents are what the change's documents were before it.
	Documents []Prior `json:"documents,omitempty"`
}

// PendingVolume is one more volume of a change.
type PendingVolume struct {
	Volume string `json:"volume"`
	ID     uint32 `json:"id"`
	Origin uint32 `json:"origin,omitempty"`
}

// Add adds a volume to the change.
func (p *Pending) Add(volume string, id, origin uint32) {
	if p.Volume == "" {
		p.Volume, p.ID, p.Origin = volume, id, origin
		return
	}
	p.More = append(p.More, PendingVolume{volume, id, origin})
}

// Volumes returns all volumes of the change.
func (p Pending) Volumes() []PendingVolume {
	return append([]PendingVolume{{p.Volume, p.ID, p.Origin}}, p.More...)
}

// IDs returns the device ids of the change's volumes.
func (p Pending) IDs() []uint32 {
	var ids []uint32
	for _, v := range p.Volumes() {
		ids = append(ids, v.ID)
	}
	return ids
}

// Origins returns the device ids that the change may have left suspended.
func (p Pending) Origins() []uint32 {
	var ids []uint32
	for _, v := range p.Volumes() {
		if v.Origin != 0 && !slices.Contains(ids, v.Origin) {
			ids = append(ids, v.Origin)
		}
	}
	return ids
}
