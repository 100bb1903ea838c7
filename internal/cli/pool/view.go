package pool

import (
	"path/filepath"
	"time"

	"thinctl/dm"
	"thinctl/internal/cli/command"
	"thinctl/internal/disk"
	"thinctl/thinpool"
	"thinctl/units"
)

// poolView is the JSON of a pool. Fields are null if only an active, healthy pool has them.
type poolView struct {
	Name         string    `json:"name"`
	UUID         string    `json:"uuid"`
	Dir          string    `json:"dir"`
	Created      time.Time `json:"created"`
	Active       bool      `json:"active"`
	PoolName     string    `json:"pool_name"`
	DeviceNumber string    `json:"device_number,omitempty"`

	Mode          *string `json:"mode"`
	NeedsCheck    *bool   `json:"needs_check"`
	TransactionID *uint64 `json:"transaction_id"`
	HeldRoot      *uint64 `json:"held_root"`
	Discard       *string `json:"discard"`

	BlockBytes     units.Bytes `json:"block_bytes"`
	BaseBytes      units.Bytes `json:"base_size_bytes"`
	LowWaterBlocks uint64      `json:"low_water_blocks"`
	LowWaterBytes  units.Bytes `json:"low_water_bytes"`
	FullPolicy     string      `json:"full_policy"`
	Zeroing        bool        `json:"zeroing"`
	DirectIO       bool        `json:"direct_io"`
	Preallocated   bool        `json:"preallocated"`

	Generation uint64      `json:"generation"` // of the mark on the data
	Data       spaceView   `json:"data"`
	Metadata   spaceView   `json:"metadata"`
	Host       *hostView   `json:"host"`
	Reserve    reserveView `json:"reserve_percent"`
	MinFree    units.Bytes `json:"minimum_free_bytes"`

	Images          *int        `json:"images,omitempty"` // only in `pool status`
	Layers          *int        `json:"layers,omitempty"`
	Containers      *int        `json:"containers,omitempty"`
	Volumes         int         `json:"volumes"`
	VirtualBytes    units.Bytes `json:"virtual_bytes"`
	Overcommit      float64     `json:"overcommit"`
	UdevSync        bool        `json:"udev_sync"`
	DeferredRemoval bool        `json:"deferred_removal"`
	DeferredDelete  bool        `json:"deferred_deletion"`
	DeferredCount   int         `json:"deferred_deleted_devices"`
}

type spaceView struct {
	Path string `json:"path"`
	// Identity is the identity by which a block device is found; null for a file.
	Identity   *disk.Identity `json:"identity,omitempty"`
	LoopDevice string         `json:"loop_device,omitempty"`
	Total      units.Bytes    `json:"total_bytes"`
	Used       *units.Bytes   `json:"used_bytes"`
	Available  *units.Bytes   `json:"available_bytes"`
	File       *fileView      `json:"file"`
	isFile     bool
}

type fileView struct {
	Apparent  units.Bytes `json:"apparent_bytes"`
	Allocated units.Bytes `json:"allocated_bytes"`
}

type hostView struct {
	Total     units.Bytes `json:"total_bytes"`
	Free      units.Bytes `json:"free_bytes"`
	Available units.Bytes `json:"available_bytes"`
}

type reserveView struct {
	Data     int `json:"data"`
	Metadata int `json:"metadata"`
	Host     int `json:"host"`
}

func newPoolView(c *command.Call, s thinpool.Status) poolView {
	r := s.Record
	readable := s.Active && s.Kernel.Mode != dm.ModeFail
	v := poolView{
		Name: s.Name, UUID: s.UUID, Dir: s.Dir, Created: r.Created.UTC(), Active: s.Active, PoolName: string(s.Device),
		BlockBytes: r.Block, BaseBytes: r.BaseSize, LowWaterBlocks: r.LowWater,
		LowWaterBytes: units.Bytes(r.LowWater) * r.Block,
		FullPolicy:    fullPolicy(r.ErrorIfFull), Zeroing: !r.SkipZeroing, DirectIO: r.DirectIO, Preallocated: r.Preallocated,
		Generation: r.Generation, Data: newSpaceView(s.Data, r.Data.Loop, readable),
		Metadata: newSpaceView(s.Metadata, r.Metadata.Loop, readable), Reserve: reserveView(r.Reserve),
		MinFree: percentOf(s.Data.Total, r.Reserve.Data), Volumes: s.Volumes, VirtualBytes: s.Virtual,
		UdevSync: c.Probe.UdevSync(), DeferredDelete: true, DeferredCount: s.Tombstones,
	}
	if s.Data.Total > 0 {
		v.Overcommit = float64(s.Virtual) / float64(s.Data.Total)
	}
	if s.Host != nil {
		h := hostView(*s.Host)
		v.Host = &h
	}
	if s.Active {
		mode := s.Kernel.Mode.String()
		v.Mode, v.DeviceNumber = &mode, s.Dev.String()
	}
	if readable {
		k, discard := s.Kernel, s.Kernel.Discard.String()
		v.NeedsCheck, v.TransactionID, v.HeldRoot, v.Discard = &k.NeedsCheck, &k.TransactionID, &k.HeldRoot, &discard
		v.FullPolicy = fullPolicy(k.ErrorIfNoSpace)
	}
	return v
}

func newSpaceView(s thinpool.Space, isFile, readable bool) spaceView {
	v := spaceView{Path: s.Path, LoopDevice: s.Loop, Total: s.Total, isFile: isFile}
	if !isFile {
		v.Identity = &s.Identity
	}
	if readable {
		v.Used, v.Available = &s.Used, &s.Available
	}
	if s.File != nil {
		v.File = &fileView{Apparent: s.File.Apparent, Allocated: s.File.Allocated}
	}
	return v
}

// percentOf is exact and does not overflow.
func percentOf(size units.Bytes, percent int) units.Bytes {
	return size/100*units.Bytes(percent) + size%100*units.Bytes(percent)/100
}

func (v poolView) state() string {
	switch {
	case !v.Active:
		return "inactive"
	case v.NeedsCheck != nil && *v.NeedsCheck:
		return *v.Mode + ", needs check"
	}
	return *v.Mode
}

func fullPolicy(fails bool) string {
	if fails {
		return "error"
	}
	return "queue"
}

func backingPath(dir string, b thinpool.Backing) string {
	if b.Loop {
		return filepath.Join(dir, b.Path)
	}
	return b.Path
}
