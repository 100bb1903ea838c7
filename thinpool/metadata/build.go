package metadata

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"thinctl/units"
)

// maxTime is the highest time of a mapping: 24 bits.
const maxTime = 1<<24 - 1

// maxDataBlocks is the number of data blocks that the 40 bits of a mapping distinguish.
const maxDataBlocks = 1 << 40

// BuildOptions are the options of a Builder.
type BuildOptions struct {
	DataBlockSize  units.Sectors // 0: 128
	DataBlocks     uint64
	MetadataBlocks uint64 // of the device or file that is written
	Time           uint32
	TransactionID  uint64
	UUID           [16]byte
	Version        uint32 // 0: 2
	NeedsCheck     bool
	// Fill is the percentage to which nodes are filled, from 34 to 100. 0 is 50, as in
	// thin_restore, which leaves space for later copy-on-write.
	Fill int
	// Allocate, if set, returns the next metadata block to use: a free one, not block 0. If it
	// is nil, blocks are used in order.
	Allocate func() uint64
}

// Mapping is an entry of a thin device's tree.
type Mapping struct {
	Virtual, Data uint64 // blocks
	Time          uint32
}

// Builder writes the metadata of a pool from the bottom to the top: leaves, the nodes above
// them, devices, and at last the space maps and the superblock (Finish). A node may be part of
// several trees; the builder counts the references to metadata and data blocks.
//
// It holds 4 KiB for each 16320 data or metadata blocks if any of them is used, and up to 4
// bytes for each data block with more than two references.
type Builder struct {
	o    BuildOptions
	fill int
	out  *blockWriter

	metadata, data *refCounter
	devices        []builtDevice
	ids            map[uint32]struct{}
	held           uint64
	dropped        uint64 // blocks that were written and are not used

	heldNodes map[string]uint64 // the nodes of the held root's upper trees, by content
	dedup     map[string]uint64 // heldNodes while the upper trees are written, otherwise nil
	scratch   []byte
	keys      []uint64
	values    []byte
	single    *leafBuilder
	finished  bool
}

type builtDevice struct {
	Device
	root Subtree
}

// NewBuilder returns a Builder that writes to w, whose content is lost. Block 0 is not written
// before Finish.
func NewBuilder(w io.WriterAt, o BuildOptions) (*Builder, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("build metadata: %w", err)
	}
	b := &Builder{
		o: o, fill: o.Fill, out: newBlockWriter(w, o.MetadataBlocks, o.Allocate),
		metadata: newRefCounter(o.MetadataBlocks), data: newRefCounter(o.DataBlocks),
		ids: make(map[uint32]struct{}), scratch: make([]byte, blockSize),
	}
	b.single = b.mappingLeaves()
	b.metadata.add(0)
	return b, nil
}

func (o *BuildOptions) complete() error {
	if o.DataBlockSize == 0 {
		o.DataBlockSize = 128
	}
	if o.Version == 0 {
		o.Version = 2
	}
	if o.Fill == 0 {
		o.Fill = 50
	}
	switch {
	case o.DataBlockSize < 128 || o.DataBlockSize > 2097152 || o.DataBlockSize%128 != 0:
		return fmt.Errorf("data blocks of %d sectors, want a multiple of 128 up to 2097152", o.DataBlockSize)
	case o.Version != 1 && o.Version != 2:
		return fmt.Errorf("version %d, want 1 or 2", o.Version)
	case o.Fill < 34 || o.Fill > 100:
		return fmt.Errorf("fill of %d%%, want 34 to 100", o.Fill)
	case o.MetadataBlocks == 0 || o.MetadataBlocks > MaxBlocks:
		return fmt.Errorf("%d metadata blocks, want 1 to %d", o.MetadataBlocks, uint64(MaxBlocks))
	case o.DataBlocks > maxDataBlocks:
		return fmt.Errorf("%d data blocks, want at most %d", o.DataBlocks, uint64(maxDataBlocks))
	case bitmapsFor(o.DataBlocks) > MaxBlocks:
		return fmt.Errorf("the bitmaps of %d data blocks do not fit the largest metadata", o.DataBlocks)
	}
	return nil
}

// Leaf writes a leaf of 1 to 252 mappings in ascending order, at least 84 if the leaf is not a
// whole tree. If the metadata device is too small, nothing is written, and Finish returns the
// size that is needed.
func (b *Builder) Leaf(mappings []Mapping) (Subtree, error) {
	if n := len(mappings); n == 0 || n > mappingMax {
		return Subtree{}, fmt.Errorf("leaf of %d mappings, want 1 to %d", n, mappingMax)
	}
	l := b.single
	l.keys, l.values, l.leaves = l.keys[:0], l.values[:0], l.leaves[:0]
	for i, m := range mappings {
		if i > 0 && m.Virtual <= mappings[i-1].Virtual {
			return Subtree{}, fmt.Errorf("virtual block %d follows %d", m.Virtual, mappings[i-1].Virtual)
		}
		value, err := b.pack(m)
		if err != nil {
			return Subtree{}, err
		}
		l.keys, l.values = append(l.keys, m.Virtual), binary.LittleEndian.AppendUint64(l.values, value)
	}
	if err := l.emit(len(mappings)); err != nil {
		return Subtree{}, err
	}
	return l.leaves[0], nil
}

func (b *Builder) pack(m Mapping) (uint64, error) {
	switch {
	case m.Data >= b.o.DataBlocks:
		return 0, fmt.Errorf("virtual block %d is mapped to data block %d of %d", m.Virtual, m.Data, b.o.DataBlocks)
	case m.Time > maxTime:
		return 0, fmt.Errorf("virtual block %d has time %d, which needs more than 24 bits", m.Virtual, m.Time)
	}
	return m.Data<<24 | uint64(m.Time), nil
}

// mappingLeaves returns a builder of leaves of a device's tree.
func (b *Builder) mappingLeaves() *leafBuilder {
	return b.leaves(8, func(value []byte) { b.data.add(binary.LittleEndian.Uint64(value) >> 24) })
}

// Node writes an internal node above 1 to 252 children of one height, ordered by key.
func (b *Builder) Node(children []Subtree) (Subtree, error) {
	if n := len(children); n == 0 || n > mappingMax {
		return Subtree{}, fmt.Errorf("node of %d children, want 1 to %d", n, mappingMax)
	}
	if err := checkSiblings(children); err != nil {
		return Subtree{}, err
	}
	return b.writeInternal(children)
}

// Tree writes the nodes above children of one height until there is one root. A single child is
// returned as it is. Without children the result is an empty tree.
func (b *Builder) Tree(children []Subtree) (Subtree, error) {
	switch {
	case len(children) == 0:
		return b.mappingLeaves().root()
	case len(children) == 1 && children[0].height > 0:
		return children[0], nil
	}
	if err := checkSiblings(children); err != nil {
		return Subtree{}, err
	}
	return b.stack(children)
}

// Device adds a thin device with the mappings under root. MappedBlocks of d is ignored and
// counted instead.
func (b *Builder) Device(d Device, root Subtree) error {
	_, twice := b.ids[d.ID]
	switch {
	case d.ID > MaxDeviceID:
		return fmt.Errorf("device id %d is over %d", d.ID, MaxDeviceID)
	case twice:
		return fmt.Errorf("device %d exists already", d.ID)
	case root.height == 0:
		return fmt.Errorf("device %d has no tree", d.ID)
	}
	b.ids[d.ID] = struct{}{}
	d.MappedBlocks = root.mapped
	b.devices = append(b.devices, builtDevice{d, root})
	return nil
}

// Hold makes a held root of the devices that were added so far, with the given time and
// transaction id, as reserve_metadata_snap does. After that the live pool has no devices.
// Devices that it still has are added again, and share equal nodes with the held root.
func (b *Builder) Hold(time uint32, transaction uint64) error {
	if b.held != 0 {
		return errors.New("a held root exists already")
	}
	b.heldNodes = make(map[string]uint64)
	mapping, details, err := b.roots()
	if err != nil {
		return err
	}
	s := b.superblock(mapping, details)
	s.Time, s.TransactionID = time, transaction
	s.Block, err = b.out.alloc()
	if err != nil {
		return err
	}
	b.metadata.add(s.Block)
	if err := b.writeSuperblock(s); err != nil {
		return err
	}
	b.held, b.devices = s.Block, nil
	clear(b.ids)
	return nil
}

// roots writes the tree of devices and the tree of details.
func (b *Builder) roots() (mapping, details uint64, err error) {
	b.dedup = b.heldNodes
	defer func() { b.dedup = nil }()
	slices.SortFunc(b.devices, func(x, y builtDevice) int { return cmp.Compare(x.ID, y.ID) })
	le := binary.LittleEndian
	tops := b.leaves(8, func(value []byte) { b.metadata.add(le.Uint64(value)) })
	records := b.leaves(detailsSize, nil)
	var record [detailsSize]byte
	for _, d := range b.devices {
		encodeDetails(record[:], d.Device)
		if err := records.add(uint64(d.ID), record[:]...); err != nil {
			return 0, 0, err
		}
		if err := tops.add(uint64(d.ID), le.AppendUint64(nil, d.root.block)...); err != nil {
			return 0, 0, err
		}
	}
	top, err := tops.root()
	if err != nil {
		return 0, 0, err
	}
	detail, err := records.root()
	if err != nil {
		return 0, 0, err
	}
	b.metadata.add(top.block)
	b.metadata.add(detail.block)
	return top.block, detail.block, nil
}

func encodeDetails(b []byte, d Device) {
	le := binary.LittleEndian
	le.PutUint64(b, d.MappedBlocks)
	le.PutUint64(b[8:], d.TransactionID)
	le.PutUint32(b[16:], d.CreationTime)
	le.PutUint32(b[20:], d.SnapshottedTime)
}
