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

// maxTime is what a mapping has room for: 24 bits.
const maxTime = 1<<24 - 1

// maxDataBlocks is what a mapping can tell apart: 40 bits.
const maxDataBlocks = 1 << 40

// BuildOptions say what a Builder makes.
type BuildOptions struct {
	DataBlockSize  units.Sectors // 0: 128
	DataBlocks     uint64
	MetadataBlocks uint64 // of the device or file written to
	Time           uint32
	TransactionID  uint64
	UUID           [16]byte
	Version        uint32 // 0: 2
	NeedsCheck     bool
	// Fill is how full nodes are made, in per cent from 34 to 100. 0 is 50, as
	// thin_restore does: room for the copy-on-write to come.
	Fill int
	// Allocate, where set, chooses each metadata block: a free one, from 1 on. Nil
	// takes them in order.
	Allocate func() uint64
}

// Mapping is one entry of a thin device's tree.
type Mapping struct {
	Virtual, Data uint64 // blocks
	Time          uint32
}

// Builder writes the metadata of a pool bottom up: leaves, the trees above
// them, devices, and with Finish all the rest, space maps and superblock. A
// node may stand in many trees; the builder counts the references to metadata
// and data blocks alike.
//
// It holds 4 KiB for each 16320 data or metadata blocks of which any is used,
// and up to 4 bytes for each data block with more than two references.
type Builder struct {
	o    BuildOptions
	fill int
	out  *blockWriter

	metadata, data *tally
	devices        []builtDevice
	ids            map[uint32]struct{}
	held           uint64
	dropped        uint64 // blocks written and given up again

	tops     map[string]uint64 // the held root's own nodes by content
	same     map[string]uint64 // tops while such nodes are written
	scratch  []byte
	keys     []uint64
	values   []byte
	one      *leafBuilder
	finished bool
}

type builtDevice struct {
	Device
	root Subtree
}

// NewBuilder starts to write to w, which must hold nothing of value: block 0 is
// left as it is until Finish.
func NewBuilder(w io.WriterAt, o BuildOptions) (*Builder, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("building metadata: %w", err)
	}
	b := &Builder{
		o: o, fill: o.Fill, out: newBlockWriter(w, o.MetadataBlocks, o.Allocate),
		metadata: newTally(o.MetadataBlocks), data: newTally(o.DataBlocks),
		ids: make(map[uint32]struct{}), scratch: make([]byte, blockSize),
	}
	b.one = b.mappings()
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
		return fmt.Errorf("data blocks of %d sectors: a multiple of 128 up to 2097152 is needed", o.DataBlockSize)
	case o.Version != 1 && o.Version != 2:
		return fmt.Errorf("version %d, known are 1 and 2", o.Version)
	case o.Fill < 34 || o.Fill > 100:
		return fmt.Errorf("nodes filled to %d%%: from 34 to 100 can be", o.Fill)
	case o.MetadataBlocks == 0 || o.MetadataBlocks > MaxBlocks:
		return fmt.Errorf("%d metadata blocks: from 1 to %d can be", o.MetadataBlocks, uint64(MaxBlocks))
	case o.DataBlocks > maxDataBlocks:
		return fmt.Errorf("%d data blocks, at most %d can be mapped", o.DataBlocks, uint64(maxDataBlocks))
	case bitmapsFor(o.DataBlocks) > MaxBlocks:
		return fmt.Errorf("%d data blocks have more bitmaps than metadata can hold", o.DataBlocks)
	}
	return nil
}

// Leaf writes a leaf of 1 to 252 mappings in ascending order; a leaf that is
// not a whole tree needs 84. Beyond the end of the metadata device nothing is
// written; Finish then says how large it must be.
func (b *Builder) Leaf(mappings []Mapping) (Subtree, error) {
	if n := len(mappings); n == 0 || n > mappingMax {
		return Subtree{}, fmt.Errorf("a leaf of %d mappings: 1 to %d can be", n, mappingMax)
	}
	l := b.one
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
		return 0, fmt.Errorf("virtual block %d has time %d: 24 bits can be", m.Virtual, m.Time)
	}
	return m.Data<<24 | uint64(m.Time), nil
}

// mappings builds leaves of a device's tree.
func (b *Builder) mappings() *leafBuilder {
	return b.leaves(8, func(value []byte) { b.data.add(binary.LittleEndian.Uint64(value) >> 24) })
}

// Node writes one internal node over 1 to 252 children of one height, in the
// order of their keys.
func (b *Builder) Node(children []Subtree) (Subtree, error) {
	if n := len(children); n == 0 || n > mappingMax {
		return Subtree{}, fmt.Errorf("a node of %d children: 1 to %d can be", n, mappingMax)
	}
	if err := checkSiblings(children); err != nil {
		return Subtree{}, err
	}
	return b.internal(children)
}

// Tree writes as many levels of nodes above children of one height as make one
// tree of them; a single child is one already, and no children are an empty
// tree.
func (b *Builder) Tree(children []Subtree) (Subtree, error) {
	switch {
	case len(children) == 0:
		return b.mappings().root()
	case len(children) == 1 && children[0].height > 0:
		return children[0], nil
	}
	if err := checkSiblings(children); err != nil {
		return Subtree{}, err
	}
	return b.above(children)
}

// Device adds a thin device whose mappings are those under root. MappedBlocks
// is counted, not taken from d.
func (b *Builder) Device(d Device, root Subtree) error {
	_, twice := b.ids[d.ID]
	switch {
	case d.ID > MaxDeviceID:
		return fmt.Errorf("device id %d is over %d", d.ID, MaxDeviceID)
	case twice:
		return fmt.Errorf("device %d is there already", d.ID)
	case root.height == 0:
		return fmt.Errorf("device %d has no tree", d.ID)
	}
	b.ids[d.ID] = struct{}{}
	d.MappedBlocks = root.mapped
	b.devices = append(b.devices, builtDevice{d, root})
	return nil
}

// Hold makes the devices added so far a held root of that time and transaction
// id, as reserve_metadata_snap does. The live pool then has no devices: those
// that it still has are added again, and share with the held root the nodes
// that are alike.
func (b *Builder) Hold(time uint32, transaction uint64) error {
	if b.held != 0 {
		return errors.New("there is a held root already")
	}
	b.tops = make(map[string]uint64)
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

// roots writes the top level of the mapping tree and the details.
func (b *Builder) roots() (mapping, details uint64, err error) {
	b.same = b.tops
	defer func() { b.same = nil }()
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
