package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// Run is a run of mappings of a thin device: consecutive virtual blocks that are mapped to
// consecutive data blocks and have the same time.
type Run struct {
	Virtual, Data, Blocks uint64
	Time                  uint32
}

// mapping is a value in a thin device's tree: 40 bits of data block above 24 bits of time
// (dm-thin-metadata.c, pack_block_time).
type mapping uint64

func (m mapping) data() uint64 { return uint64(m) >> timeBits }
func (m mapping) time() uint32 { return uint32(m) & maxTime }

func decodeNumber(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }

// Runs calls visit with the mappings of thin device id, as the longest runs, ordered by virtual
// block. An error of visit ends it. ErrNoDevice.
//
// root is a held root, or the superblock of an inactive pool. Several goroutines read r
// concurrently. Runs holds at most 4 MiB.
func Runs(ctx context.Context, r io.ReaderAt, root Superblock, id uint32, visit func(Run) error) error {
	t, top, err := mappingTreeOf(r, root, id)
	if err != nil {
		return err
	}
	s := &runJoiner{visit: visit}
	w := walker{tree: t, leaf: s.leaf}
	if err := w.walk(ctx, place{block: top}); err != nil {
		if s.stopped {
			return err
		}
		return fmt.Errorf("read mappings of thin device %d at block %d: %w", id, top, err)
	}
	return s.flush()
}

// runJoiner joins mappings that arrive ordered by virtual block.
type runJoiner struct {
	visit   func(Run) error
	run     Run
	stopped bool // visit returned an error
}

func (s *runJoiner) leaf(n node) error {
	for i := range n.entries {
		virtual, m := n.key(i), mapping(n.child(i))
		if s.run.Virtual+s.run.Blocks == virtual && s.run.Data+s.run.Blocks == m.data() &&
			s.run.Time == m.time() && s.run.Blocks > 0 {
			s.run.Blocks++
			continue
		}
		if err := s.flush(); err != nil {
			return err
		}
		s.run = Run{Virtual: virtual, Data: m.data(), Blocks: 1, Time: m.time()}
	}
	return nil
}

func (s *runJoiner) flush() error {
	if s.run.Blocks == 0 {
		return nil
	}
	err := s.visit(s.run)
	s.stopped = err != nil
	return err
}
