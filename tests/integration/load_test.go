//go:build kernel

package integration

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/thinpool"
	"thinctl/units"
)

// load writes blocks past the page cache, so that each error belongs to its own write, and
// records what must be read back.
type load struct {
	node  string
	block units.Bytes
	every int // blocks between flushes
	// flushed holds for each block the generation that a flush has made durable.
	flushed map[uint64]uint64
	err     error // the error that ended the last fill
}

// newLoad makes and activates a volume and returns a load on it.
func newLoad(t *testing.T, pool *thinpool.Pool, name string) *load {
	t.Helper()
	ctx := testContext(t)
	if _, err := pool.CreateVolume(ctx, name, thinpool.VolumeOptions{}); err != nil {
		t.Fatal(err)
	}
	return loadOn(t, pool, name)
}

func loadOn(t *testing.T, pool *thinpool.Pool, name string) *load {
	t.Helper()
	volume, err := pool.ActivateVolume(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return &load{node: volume.Node, block: 64 * units.KiB, every: 32, flushed: map[uint64]uint64{}}
}

// content returns a block's bytes: its number, generation and device in each 16 bytes.
func (l *load) content(into []byte, block, generation uint64) {
	var seed uint64 = 14695981039346656037
	for _, c := range []byte(l.node) {
		seed = (seed ^ uint64(c)) * 1099511628211
	}
	for at := 0; at < len(into); at += 16 {
		binary.LittleEndian.PutUint64(into[at:], seed^block<<20^uint64(at))
		binary.LittleEndian.PutUint64(into[at+8:], generation)
	}
}

func aligned(length units.Bytes) ([]byte, func()) {
	page, err := unix.Mmap(-1, 0, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	return page, func() { _ = unix.Munmap(page) }
}

// fill writes the blocks, several concurrently, until one fails, and flushes after every
// few: what was written before a successful flush must stay.
func (l *load) fill(blocks []uint64, generation uint64) error {
	l.err = func() error {
		file, err := os.OpenFile(l.node, os.O_WRONLY|unix.O_DIRECT, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		for batch := range slices.Chunk(blocks, l.every) {
			if err := l.write(file, batch, generation); err != nil {
				return err
			}
			if err := file.Sync(); err != nil {
				return err
			}
			for _, block := range batch {
				l.flushed[block] = generation
			}
		}
		return nil
	}()
	return l.err
}

func (l *load) write(file *os.File, batch []uint64, generation uint64) error {
	const writers = 8
	faults := make([]error, writers)
	var group sync.WaitGroup
	for n := range writers {
		group.Go(func() {
			page, free := aligned(l.block)
			defer free()
			for i := n; i < len(batch) && faults[n] == nil; i += writers {
				l.content(page, batch[i], generation)
				_, faults[n] = file.WriteAt(page, int64(batch[i])*int64(64*units.KiB))
			}
		})
	}
	group.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// intact reads all blocks that were flushed. A block whose rewriting was interrupted may
// hold the newer generation.
func (l *load) intact(t *testing.T, newer uint64) {
	t.Helper()
	file, err := os.OpenFile(l.node, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	blocks := slices.Collect(maps.Keys(l.flushed))
	var bad atomic.Int32
	const readers = 8
	var group sync.WaitGroup
	for n := range readers {
		group.Go(func() {
			got, free := aligned(l.block)
			defer free()
			want := make([]byte, l.block)
			for i := n; i < len(blocks); i += readers {
				block := blocks[i]
				if _, err := file.ReadAt(got, int64(block)*int64(64*units.KiB)); err != nil {
					t.Errorf("read block %d of %s: %v", block, l.node, err)
					return
				}
				if l.content(want, block, l.flushed[block]); bytes.Equal(got, want) {
					continue
				}
				if l.content(want, block, newer); newer == 0 || !bytes.Equal(got, want) {
					bad.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := bad.Load(); n > 0 {
		t.Errorf("%s: %d of %d flushed blocks are not as they were written", l.node, n, len(blocks))
	}
	if len(blocks) == 0 {
		t.Errorf("%s: nothing was flushed", l.node)
	}
}

// span returns the blocks from, from+step and so on, below to.
func span(from, to, step uint64) []uint64 {
	var blocks []uint64
	for block := from; block < to; block += step {
		blocks = append(blocks, block)
	}
	return blocks
}
