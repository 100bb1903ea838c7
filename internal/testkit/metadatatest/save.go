package metadatatest

import (
	"errors"
	"io"
	"math/rand/v2"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// SaveOptions are the options of Save. The zero value stores nodes in order, with a little free
// space in metadata and data.
type SaveOptions struct {
	Shuffle        bool // metadata blocks are in random order
	MetadataBlocks uint64
	DataBlocks     uint64
	DataBlockSize  units.Sectors
	UUID           [16]byte
	NeedsCheck     bool
}

// Save writes the pool's metadata to w, which must be empty.
func (p *Pool) Save(w io.WriterAt, o SaveOptions) (metadata.Superblock, error) {
	if o.DataBlocks == 0 {
		o.DataBlocks = p.next + 100
	}
	if o.MetadataBlocks == 0 {
		blocks, err := p.blocksNeeded(o)
		if err != nil {
			return metadata.Superblock{}, err
		}
		o.MetadataBlocks = blocks + 20
	}
	return p.save(w, o)
}

// blocksNeeded returns the smallest sufficient number of metadata blocks.
func (p *Pool) blocksNeeded(o SaveOptions) (uint64, error) {
	o.MetadataBlocks, o.Shuffle = 1, false
	_, err := p.save(nil, o)
	var space *metadata.SpaceError
	if errors.As(err, &space) {
		return space.Need, nil
	}
	return 0, err
}

func (p *Pool) save(w io.WriterAt, o SaveOptions) (metadata.Superblock, error) {
	b, err := metadata.NewBuilder(w, metadata.BuildOptions{
		DataBlockSize: o.DataBlockSize, DataBlocks: o.DataBlocks, MetadataBlocks: o.MetadataBlocks,
		Time: p.time, TransactionID: p.transaction, UUID: o.UUID, NeedsCheck: o.NeedsCheck,
		Fill: 34 + int(p.transaction%67), Allocate: placer(o.MetadataBlocks, o.Shuffle, p.next),
	})
	if err != nil {
		return metadata.Superblock{}, err
	}
	saver := saver{b: b, written: make(map[*node]metadata.Subtree)}
	if held, ok := p.Held(); ok {
		if err := saver.devices(held); err != nil {
			return metadata.Superblock{}, err
		}
		if err := b.Hold(held.Time, held.TransactionID); err != nil {
			return metadata.Superblock{}, err
		}
	}
	if err := saver.devices(p.Live()); err != nil {
		return metadata.Superblock{}, err
	}
	return b.Finish()
}

// placer returns a function that allocates blocks in random order, or nil without shuffle.
func placer(blocks uint64, shuffle bool, seed uint64) func() uint64 {
	if !shuffle {
		return nil
	}
	order := make([]uint32, blocks-1)
	for i := range order {
		order[i] = uint32(i + 1)
	}
	rand.New(rand.NewPCG(seed, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return func() uint64 {
		block := order[0]
		order = order[1:]
		return uint64(block)
	}
}

// saver writes each node once, also if several devices share it.
type saver struct {
	b       *metadata.Builder
	written map[*node]metadata.Subtree
}

func (s *saver) devices(state State) error {
	for _, id := range state.IDs() {
		root, err := s.node(state.devices[id].root)
		if err != nil {
			return err
		}
		if err := s.b.Device(state.devices[id].Device, root); err != nil {
			return err
		}
	}
	return nil
}

func (s *saver) node(n *node) (metadata.Subtree, error) {
	if done, ok := s.written[n]; ok {
		return done, nil
	}
	subtree, err := s.write(n)
	s.written[n] = subtree
	return subtree, err
}

func (s *saver) write(n *node) (metadata.Subtree, error) {
	if !n.leaf() {
		kids := make([]metadata.Subtree, len(n.children))
		for i, kid := range n.children {
			subtree, err := s.node(kid)
			if err != nil {
				return metadata.Subtree{}, err
			}
			kids[i] = subtree.WithFirstKey(n.keys[i])
		}
		return s.b.Node(kids)
	}
	if len(n.keys) == 0 {
		return s.b.Tree(nil)
	}
	var mappings [nodeMax]metadata.Mapping
	for i, key := range n.keys {
		mappings[i] = metadata.Mapping{Virtual: key, Data: n.vals[i] >> 24, Time: uint32(n.vals[i] & (1<<24 - 1))}
	}
	return s.b.Leaf(mappings[:len(n.keys)])
}
