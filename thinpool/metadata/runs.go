package metadata

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// Run is a stretch of a thin device: consecutive virtual blocks that lie in
// consecutive data blocks and were written at one time of the pool.
type Run struct {
	Virtual, Data, Blocks uint64
	Time                  uint32
}

// mapping is a value in a thin device's tree (dm-thin-metadata.c, pack_block_time): 40 bits of
// data block over 24 bits of time.
type mapping uint64

func (m mapping) data() uint64 { return uint64(m) >> timeBits }
func (m mapping) time() uint32 { return uint32(m) & maxTime }

func number(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }

// Runs calls visit with what thin device id maps, in the order of the virtual
// blocks, in the longest runs. What visit returns ends it. ErrNoDevice.
//
// root is a held root, or the superblock of a pool that is not active. r is read
// from several goroutines at once. At most 4 MiB are held.
func Runs(ctx context.Context, r io.ReaderAt, root Superblock, id uint32, visit func(Run) error) error {
	t, top, err := mappings(r, root, id)
	if err != nil {
		return err
	}
	s := &runs{visit: visit}
	w := walker{tree: t, leaf: s.leaf}
	if err := w.walk(ctx, place{block: top}); err != nil {
		if s.stopped {
			return err
		}
		return fmt.Errorf("reading the mappings of thin device %d at block %d: %w", id, top, err)
	}
	return s.flush()
}

// runs joins mappings that come in the order of their virtual blocks.
type runs struct {
	visit   func(Run) error
	run     Run
	stopped bool // by visit
}

func (s *runs) leaf(n node) error {
	for i := range n.entries {
		virtual, m := n.key(i), mapping(n.child(i))
		if s.run.Virtual+s.run.Blocks == virtual && s.run.Data+s.run.Blocks == m.data() && s.run.Time == m.time() && s.run.Blocks > 0 {
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

func (s *runs) flush() error {
	if s.run.Blocks == 0 {
		return nil
	}
	err := s.visit(s.run)
	s.stopped = err != nil
	return err
}
