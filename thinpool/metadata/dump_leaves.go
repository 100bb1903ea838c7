package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
)

// dumpRun is a run of consecutive virtual blocks, mapped to consecutive data blocks with one
// time.
type dumpRun struct {
	virtual, data, blocks uint64
	time                  uint32
}

// joins reports whether next continues r.
func (r dumpRun) joins(next dumpRun) bool {
	return r.virtual+r.blocks == next.virtual && r.data+r.blocks == next.data && r.time == next.time
}

// leafStore holds the mappings of every leaf. They are read once, in the order of the blocks,
// and written in the order of the devices.
type leafStore struct {
	graph *graph

	mu     sync.Mutex
	runs   [][]byte // by vertex; nil if there was no memory left
	memory int64    // bytes that may still be allocated
	free   []byte   // the unused part of the memory for runs
}

// read reads all leaves of the devices and checks their trees.
func (s *leafStore) read(ctx context.Context, devices []dumpedDevice) error {
	g := s.graph
	for i := range devices {
		n, err := g.root(devices[i].block, mappingTree)
		if err != nil {
			return fmt.Errorf("device %d: %w", devices[i].ID, err)
		}
		devices[i].root = n
	}
	scratch := make([][]byte, g.reader.workers)
	g.onLeaf = func(worker int, number uint32, _ *vertex, n node) error {
		scratch[worker] = appendRuns(scratch[worker][:0], n)
		s.keep(number, scratch[worker])
		return nil
	}
	if err := g.read(ctx); err != nil {
		return err
	}
	_, err := g.orderAndCheck()
	s.runs = append(s.runs, make([][]byte, max(0, len(g.vertices)-len(s.runs)))...)
	return err
}

func (s *leafStore) keep(number uint32, runs []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := int(number) + 1 - len(s.runs); more > 0 {
		s.runs = append(s.runs, make([][]byte, more)...)
	}
	const piece = 1 << 18 // far more than a leaf takes
	if len(s.free) < len(runs) {
		if s.memory < piece {
			return
		}
		s.memory -= piece
		s.free = make([]byte, piece)
	}
	n := copy(s.free, runs)
	s.runs[number], s.free = s.free[:n:n], s.free[n:]
}

// runsOf returns the runs of a leaf. b and scratch are buffers of the worker.
func (s *leafStore) runsOf(number uint32, b, scratch []byte) ([]byte, error) {
	if runs := s.runs[number]; runs != nil {
		return runs, nil
	}
	v := &s.graph.vertices[number]
	if err := readBlock(s.graph.reader.r, uint64(v.block), b); err != nil {
		return nil, err
	}
	n, err := parseNode(b, uint64(v.block), 8)
	if err != nil {
		return nil, err
	}
	if !n.leaf || n.entries != int(v.entries) || n.entries > 0 && (n.key(0) != v.first || n.key(n.entries-1) != v.last) {
		return nil, fmt.Errorf("metadata block %d: %w", v.block, errChanged)
	}
	return appendRuns(scratch[:0], n), nil
}

// appendRuns encodes a leaf's runs. Each is four numbers, relative to the end of the run before
// it.
func appendRuns(b []byte, n node) []byte {
	var last, r dumpRun
	values := n.b[nodeHeader+8*n.max:]
	flush := func() {
		if r.blocks == 0 {
			return
		}
		b = binary.AppendUvarint(b, r.virtual-last.virtual)
		b = binary.AppendUvarint(b, r.blocks)
		b = binary.AppendVarint(b, int64(r.data)-int64(last.data))
		b = binary.AppendVarint(b, int64(r.time)-int64(last.time))
		last = dumpRun{virtual: r.virtual + r.blocks, data: r.data + r.blocks, time: r.time}
	}
	for i := range n.entries {
		value := binary.LittleEndian.Uint64(values[8*i:])
		next := dumpRun{virtual: n.key(i), data: value >> 24, blocks: 1, time: uint32(value & maxTime)}
		if r.blocks > 0 && r.joins(next) {
			r.blocks++
			continue
		}
		flush()
		r = next
	}
	flush()
	return b
}

// nextRun decodes one run of appendRuns. last is the end of the run before it.
func nextRun(b []byte, last *dumpRun) (dumpRun, []byte) {
	virtual, n := uvarint(b)
	b = b[n:]
	blocks, n := uvarint(b)
	b = b[n:]
	data, n := uvarint(b)
	b = b[n:]
	time, n := uvarint(b)
	b = b[n:]
	r := dumpRun{
		virtual: last.virtual + virtual, blocks: blocks,
		data: last.data + (data>>1 ^ -(data & 1)), time: last.time + uint32(time>>1^-(time&1)),
	}
	*last = dumpRun{virtual: r.virtual + blocks, data: r.data + blocks, time: r.time}
	return r, b
}

// uvarint is binary.Uvarint with the most frequent case inlined.
func uvarint(b []byte) (uint64, int) {
	if b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}
