package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"

	"thinctl/units"
)

// RestoreOptions are the options of Restore.
type RestoreOptions struct {
	MetadataBlocks uint64 // of the target; required
	// DataBlocks, DataBlockSize and TransactionID, if set, override the values in the XML.
	DataBlocks    uint64
	DataBlockSize units.Sectors
	TransactionID *uint64
	UUID          [16]byte // the uuid in the XML is not used
	// ClearNeedsCheck clears the flag. Otherwise it is as in the XML.
	ClearNeedsCheck bool
	Fill            int // as in BuildOptions
	// Progress, if set, is called with the number of bytes of XML that were read.
	Progress func(read int64)
}

// Restore writes metadata to w from the XML of thin_dump or Dump. The content of w is lost.
// Mappings that the XML defines once and refers to (<def> and <ref>, as thin_dump 1.x writes
// them) are shared; for these w must also be an io.ReaderAt. mapped_blocks is counted, and a
// metadata_snap is not restored.
//
// The superblock is written last. Until then, and after an error, w has none. The caller syncs
// w. An error in the XML is an *XMLError. ErrNoSpace reports the number of blocks that w needs.
//
// Memory: that of a Builder, 1 MiB of text, and 48 bytes for each leaf of the current device
// and for each defined leaf.
func Restore(ctx context.Context, xml io.Reader, w io.WriterAt, o RestoreOptions) (Superblock, error) {
	r := &restorer{ctx: ctx, w: w, o: o, defs: make(map[string]*definition), unused: make(map[uint64]Subtree)}
	r.s = newScanner(xml, func(read int64) error {
		if o.Progress != nil {
			o.Progress(read)
		}
		return ctx.Err()
	})
	s, err := r.restore()
	if err != nil {
		return Superblock{}, fmt.Errorf("restore metadata: %w", err)
	}
	return s, nil
}

// restorer handles the elements of the XML, which nest at most three deep.
type restorer struct {
	ctx context.Context
	s   *scanner
	w   io.WriterAt
	o   RestoreOptions
	b   *Builder

	inside  [3]string // open elements
	depth   int
	device  Device
	def     *definition
	tree    *leafBuilder // of the current device or definition
	virtual uint64       // the lowest virtual block that the next mapping may have
	full    bool         // there is no higher virtual block

	defs   map[string]*definition
	unused map[uint64]Subtree // leaves of definitions, by block
}

func (r *restorer) restore() (Superblock, error) {
	if r.o.MetadataBlocks == 0 {
		return Superblock{}, errors.New("RestoreOptions.MetadataBlocks is not set")
	}
	if err := (&BuildOptions{MetadataBlocks: r.o.MetadataBlocks, Fill: r.o.Fill}).complete(); err != nil {
		return Superblock{}, err // not an error in the XML
	}
	for {
		t, err := r.s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Superblock{}, err
		}
		if t.open {
			if err := r.begin(t); err != nil {
				return Superblock{}, err
			}
		}
		if t.end {
			if err := r.end(t); err != nil {
				return Superblock{}, err
			}
		}
	}
	switch {
	case r.depth > 0:
		return Superblock{}, r.s.errorf("the XML ends inside <%s>: it is incomplete", r.inside[r.depth-1])
	case r.b == nil:
		return Superblock{}, r.s.errorf("no <superblock>: not the dump of a thin pool")
	}
	if err := r.dropUnused(); err != nil {
		return Superblock{}, err
	}
	return r.b.Finish()
}

func (r *restorer) within() string {
	if r.depth == 0 {
		return ""
	}
	return r.inside[r.depth-1]
}

func (r *restorer) begin(t *tag) error {
	var name string
	var err error
	switch within := r.within(); string(t.name) {
	case "single_mapping", "range_mapping":
		name = "single_mapping"
		if within != "device" && within != "def" {
			return r.s.errorf("<%s> outside <device> and <def>", t.name)
		}
		if t.name[0] == 'r' {
			name = "range_mapping"
		}
		err = r.mapping(t, name == "range_mapping")
	case "device":
		name = "device"
		if within != "superblock" {
			return r.s.errorf("<device> outside <superblock>")
		}
		err = r.beginDevice(t)
	case "def":
		name = "def"
		if within != "superblock" {
			return r.s.errorf("<def> outside <superblock>, or inside another element")
		}
		err = r.beginDef(t)
	case "ref":
		name = "ref"
		if within != "device" {
			return r.s.errorf("<ref> outside <device>")
		}
		err = r.ref(t)
	case "superblock":
		name = "superblock"
		if r.depth > 0 || r.b != nil {
			return r.s.errorf("a second <superblock>")
		}
		err = r.superblock(t)
	default:
		return r.s.errorf("unknown element <%s>", t.name)
	}
	r.inside[r.depth] = name
	r.depth++
	return err
}

func (r *restorer) end(t *tag) error {
	if r.depth == 0 || r.inside[r.depth-1] != string(t.name) {
		return r.s.errorf("</%s> ends <%s>", t.name, r.within())
	}
	r.depth--
	switch string(t.name) {
	case "device":
		return r.endDevice()
	case "def":
		return r.endDef()
	}
	return nil
}

func (r *restorer) superblock(t *tag) error {
	var time, transaction, flags, size, blocks uint64
	version := uint64(2)
	err := r.s.numbers(t, []field{
		{name: "uuid", optional: true}, {"time", &time, 32, false}, {"transaction", &transaction, 64, false},
		{"flags", &flags, 32, true}, {"version", &version, 32, true},
		{"data_block_size", &size, 32, r.o.DataBlockSize != 0}, {"nr_data_blocks", &blocks, 64, r.o.DataBlocks != 0},
		{name: "metadata_snap", optional: true},
	})
	if err != nil {
		return err
	}
	if flags&^flagNeedsCheck != 0 {
		return r.s.errorf("unknown flags %d", flags)
	}
	if r.o.TransactionID != nil {
		transaction = *r.o.TransactionID
	}
	if r.o.DataBlockSize != 0 {
		size = uint64(r.o.DataBlockSize)
	}
	if r.o.DataBlocks != 0 {
		blocks = r.o.DataBlocks
	}
	if size == 0 {
		return r.s.errorf("data_block_size is 0: set the block size of the pool")
	}
	r.b, err = NewBuilder(r.w, BuildOptions{
		DataBlockSize: units.Sectors(size), DataBlocks: blocks, MetadataBlocks: r.o.MetadataBlocks,
		Time: uint32(time), TransactionID: transaction, UUID: r.o.UUID, Version: uint32(version),
		NeedsCheck: flags&flagNeedsCheck != 0 && !r.o.ClearNeedsCheck, Fill: r.o.Fill,
	})
	if err != nil {
		return r.s.errorf("%v", err)
	}
	return nil
}

func (r *restorer) beginDevice(t *tag) error {
	var id, mapped, transaction, created, snapped uint64
	err := r.s.numbers(t, []field{
		{"dev_id", &id, 24, false}, {"mapped_blocks", &mapped, 64, true}, {"transaction", &transaction, 64, false},
		{"creation_time", &created, 32, false}, {"snap_time", &snapped, 32, false},
	})
	if err != nil {
		return err
	}
	r.device = Device{
		ID: uint32(id), TransactionID: transaction, CreationTime: uint32(created), SnapshottedTime: uint32(snapped),
	}
	if _, twice := r.b.ids[r.device.ID]; twice {
		return r.s.errorf("device %d appears twice", id)
	}
	r.beginTree()
	return nil
}

func (r *restorer) beginTree() {
	r.tree, r.virtual, r.full = r.b.mappingLeaves(), 0, false
}

func (r *restorer) endDevice() error {
	root, err := r.endTree()
	if err != nil {
		return err
	}
	if err := r.b.Device(r.device, root); err != nil {
		return r.s.errorf("%v", err)
	}
	return nil
}

func (r *restorer) mapping(t *tag, ranged bool) error {
	run := dumpRun{blocks: 1}
	var time uint64
	fields := [4]field{
		{"origin_block", &run.virtual, 64, false}, {"data_block", &run.data, 64, false}, {"time", &time, 24, false},
		{"length", &run.blocks, 64, true},
	}
	if ranged {
		fields[0].name, fields[1].name, fields[3].optional = "origin_begin", "data_begin", false
	}
	n := 3
	if ranged {
		n = 4
	}
	if err := r.s.numbers(t, fields[:n]); err != nil {
		return err
	}
	run.time = uint32(time)
	return r.run(run)
}

// run adds a run of mappings.
func (r *restorer) run(run dumpRun) error {
	have := r.b.o.DataBlocks
	switch {
	case run.blocks == 0:
		return r.s.errorf("a range of 0 blocks at virtual block %d", run.virtual)
	case run.virtual+run.blocks-1 < run.virtual:
		return r.s.errorf("%d blocks at virtual block %d exceed 64 bits", run.blocks, run.virtual)
	case r.full || run.virtual < r.virtual:
		return r.s.errorf("virtual block %d is not after the mappings before it", run.virtual)
	case run.data >= have || run.blocks > have-run.data:
		return r.s.errorf("data blocks %d to %d, but nr_data_blocks is %d (thin_dump -m writes 0)",
			run.data, run.data+run.blocks-1, have)
	}
	r.virtual = run.virtual + run.blocks
	r.full = r.virtual == 0
	value := run.data<<24 | uint64(run.time)
	for i := range run.blocks {
		if i&(1<<20-1) == 1<<20-1 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
		}
		if err := r.tree.addMapping(run.virtual+i, value+i<<24); err != nil {
			return err
		}
	}
	return nil
}
