package store

import (
	"slices"
	"time"

	"thinctl/internal/disk"
	"thinctl/units"
)

// SchemaVersion is the version of the layout that this program writes, and the only one
// that it reads.
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
	Activated    bool    `json:"activated"` // the last request: activate or deactivate
	DirectIO     bool    `json:"direct_io"`
	Preallocated bool    `json:"preallocated,omitempty"`
	// Generation counts the pool's activations, like the mark on its data. It is zero if
	// the data has no mark yet.
	Generation uint64 `json:"generation,omitempty"`
}

// Backing is the storage of the pool's data or metadata: a sparse file behind a loop
// device, or a block device.
type Backing struct {
	// Path is relative to the pool's directory for a file of the pool. For a device it is the
	// last known path.
	Path string      `json:"path"`
	Loop bool        `json:"loop"`
	Size units.Bytes `json:"size"`
	// Identity identifies a device independently of its path.
	Identity disk.Identity `json:"identity,omitzero"`
	// Sector is the logical sector size of the loop device when the pool was made. A
	// file system cannot be mounted with a larger sector size than it was made with, so
	// each later loop device gets the same size.
	Sector units.Bytes `json:"sector,omitempty"`
}

// Reserve is the free space that admission keeps, in percent. Zero reserves nothing.
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
	// For is the purpose of a volume that a package above the pool keeps, "" for a volume
	// of the user.
	For string `json:"for,omitempty"`
	// ReadOnly volumes are never written again: their devices reject writes.
	ReadOnly bool `json:"read_only,omitempty"`
}

// Tombstone is a removed volume whose blocks are still in the pool.
type Tombstone struct {
	Volume
	Removed time.Time `json:"removed"`
}

// Reading is the note of a process that reads the active pool's metadata through a
// metadata snapshot. It is written before the kernel takes the snapshot, so that a
// snapshot that a killed process left can be identified as thinctl's.
type Reading struct {
	Process int       `json:"process"`
	Started time.Time `json:"started"`
	// Transaction is the pool's transaction id when the snapshot was requested.
	Transaction uint64 `json:"transaction"`
	// Block is the place of the snapshot's superblock, and Digest is its SHA-256. They are
	// 0 and nil until known.
	Block  uint64 `json:"block,omitempty"`
	Digest []byte `json:"digest,omitempty"`
}

// Pending is the note of the change for transaction id Tx. While the pool's id is below
// Tx, the change has not happened, and recovery deletes its volumes.
type Pending struct {
	Tx     uint64 `json:"tx"`
	Volume string `json:"volume"`
	ID     uint32 `json:"id"`
	// Origin is the device id of a snapshot's origin. A killed process may have left it
	// suspended.
	Origin uint32 `json:"origin,omitempty"`
	// More are the other volumes of the same change.
	More []PendingVolume `json:"more,omitempty"`
	// Documents are the contents of the change's documents before it.
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
