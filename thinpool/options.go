package thinpool

import (
	"cmp"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Defaults of a new pool. They are those of Docker's devicemapper driver.
const (
	DefaultDataSize     = 100 * units.GiB
	DefaultMetadataSize = 2 * units.GiB
	DefaultBlock        = 64 * units.KiB
	DefaultBaseSize     = 10 * units.GiB
	DefaultLowWater     = 32768 // data blocks
	DefaultReserve      = 10    // percent of data and of metadata
	DefaultHostReserve  = 5     // percent of the host's file system
)

const (
	minMetadata = 2 * units.MiB
	// lvmMaxMetadata is LVM's limit (DEFAULT_THIN_POOL_MAX_METADATA_SIZE, 15.81 GiB).
	// Every kernel can use metadata of that size in full.
	lvmMaxMetadata = 16192 * units.MiB
	metadataBlock  = 4 * units.KiB
)

// CreateOptions describe a new pool. The zero value of each field is the
// default.
type CreateOptions struct {
	DataSize       units.Bytes
	MetadataSize   units.Bytes // see MetadataFor if zero
	Block          units.Bytes
	BaseSize       units.Bytes
	LowWater       uint64 // data blocks; at most a tenth of the data if zero
	DataDevice     string // a block device instead of a sparse file
	MetadataDevice string
	Force          bool // use devices that are not empty
	SkipZeroing    bool // let volumes read the previous contents of their blocks
	ErrorIfFull    bool // fail writes at once when the pool is full
	Buffered       bool // no direct IO on the loop devices
	Preallocate    bool // allocate the blocks of the files instead of leaving holes
	Reserve        *store.Reserve
}

// MetadataFor returns the metadata size for a new pool of that data size. It is at
// least LVM's 64 bytes a block. Snapshots that diverge need more: it is also at least a
// fiftieth of the data, up to the 2 GiB that Docker used for 100 GiB.
func MetadataFor(data, block units.Bytes) units.Bytes {
	forSnapshots := min(max(data/50, 32*units.MiB), DefaultMetadataSize).RoundUp(units.MiB)
	return max(metadataNeed(data, block), forSnapshots)
}

func metadataNeed(data, block units.Bytes) units.Bytes {
	const perBlock = 64
	return min((data / block * perBlock).RoundUp(units.MiB), lvmMaxMetadata)
}

func (o CreateOptions) withDefaults() CreateOptions {
	o.Block = cmp.Or(o.Block, DefaultBlock)
	o.BaseSize = cmp.Or(o.BaseSize, DefaultBaseSize)
	if o.DataDevice == "" {
		o.DataSize = cmp.Or(o.DataSize, DefaultDataSize)
	}
	if o.MetadataDevice == "" && o.MetadataSize == 0 && o.Block >= dm.MinBlock {
		o.MetadataSize = MetadataFor(o.DataSize, o.Block)
	}
	if o.Reserve == nil {
		o.Reserve = &store.Reserve{Data: DefaultReserve, Metadata: DefaultReserve, Host: DefaultHostReserve}
	}
	return o
}

// check reports all faults of o that can be found without access to the host.
func (o CreateOptions) check(report reporter) {
	invalid := func(format string, args ...any) { report.detail(fault.Invalid, format, args...) }
	blockFits := o.Block >= dm.MinBlock && o.Block <= dm.MaxBlock && o.Block%dm.MinBlock == 0
	if !blockFits {
		invalid("block size %s must be a multiple of 64K from 64K to 1G", o.Block)
	}
	if blockFits && (o.DataDevice == "" || o.DataSize != 0) {
		switch {
		case o.DataSize < o.Block:
			invalid("data size %s is smaller than one block of %s", o.DataSize, o.Block)
		case o.DataSize%o.Block != 0:
			invalid("data size %s is not a multiple of the block size %s: use %s",
				o.DataSize, o.Block, o.DataSize.RoundUp(o.Block).Exact())
		}
	}
	if blockFits && o.MetadataDevice == "" || o.MetadataSize != 0 {
		if err := checkMetadataSize(o.MetadataSize); err != nil {
			invalid("%v", err)
		}
	}
	if o.DataDevice != "" && o.DataDevice == o.MetadataDevice {
		invalid("data and metadata are on the same device %s: give each its own", o.DataDevice)
	}
	if o.Preallocate && o.DataDevice != "" && o.MetadataDevice != "" {
		invalid("preallocate is for files, and the pool has none")
	}
	Settings{*o.Reserve, o.BaseSize}.check(invalid)
}

func checkMetadataSize(size units.Bytes) error {
	switch {
	case size < minMetadata:
		return fmt.Errorf("metadata size %s is below the minimum of %s", size, minMetadata)
	case size > dm.MaxMetadata:
		return fmt.Errorf("metadata size %s exceeds what the kernel can use, %s: use %s",
			size, dm.MaxMetadata, lvmMaxMetadata.Exact())
	case size%metadataBlock != 0:
		return fmt.Errorf("metadata size %s is not a multiple of 4K", size)
	}
	return nil
}

func (o CreateOptions) lowWater() uint64 {
	if o.LowWater != 0 {
		return o.LowWater
	}
	return max(1, min(DefaultLowWater, uint64(o.DataSize/o.Block)/10))
}
