package metadata

import (
	"sync"
	"sync/atomic"

	"thinctl/units"
)

const (
	regionBlocks = 1 << 16 // data blocks of which the claims lie together
	regionSize   = 4 * units.Bytes(regionBlocks)
	sheafRegions = 1 << 12 // regions found through one pointer

	// maxDataBlock is the last one that a mapping's 40 bits can name.
	maxDataBlock = 1<<40 - 1
	allRegions   = (maxDataBlock + 1) / regionBlocks

	// A claim is 0 for a free block, the vertex of a leaf where one mapping names
	// the block, and otherwise the number of mappings that do, marked with this.
	manyMark = 1 << 31
)

type region [regionBlocks]uint32

type sheaf [sheafRegions]atomic.Pointer[region]

// window is a run of regions.
type window struct{ first, end uint64 }

// claims keeps for each data block in a window the leaf that maps it, or how
// many mappings do. Only regions that are mapped take memory. Once there is no
// room for another, over is set and the claims are good for nothing but to tell
// which regions are mapped. Its methods may be called from many goroutines.
type claims struct {
	window
	spares *spares
	mu     sync.Mutex
	room   int64 // regions that may still be taken
	over   atomic.Bool
	used   atomic.Uint64 // blocks claimed
	sheafs [allRegions / sheafRegions]atomic.Pointer[sheaf]
}

// spares are regions that claims are through with: the next ones need not ask
// for memory while the last ones still hold theirs.
type spares struct {
	mu   sync.Mutex
	free []*region
}

func (s *spares) take() *region {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free)
	if n == 0 {
		return new(region)
	}
	r := s.free[n-1]
	s.free = s.free[:n-1]
	clear(r[:])
	return r
}

// drop gives the regions of c back, which must not be used any more.
func (c *claims) drop() {
	c.spares.mu.Lock()
	defer c.spares.mu.Unlock()
	_ = c.mapped(func(_ uint64, r *region) error {
		if r != nil {
			c.spares.free = append(c.spares.free, r)
		}
		return nil
	})
}

// noRoom stands for regions that are mapped and not kept.
var noRoom = new(region)

func newClaims(w window, room int64, s *spares) *claims {
	return &claims{window: w, room: room, spares: s}
}

// region returns the claims around a data block, nil where they are not kept.
func (c *claims) region(block uint64) *region {
	n := block / regionBlocks
	if n < c.first || n >= c.end {
		return nil
	}
	s := c.sheafs[n/sheafRegions].Load()
	if s == nil {
		c.sheafs[n/sheafRegions].CompareAndSwap(nil, new(sheaf))
		s = c.sheafs[n/sheafRegions].Load()
	}
	at := &s[n%sheafRegions]
	r := at.Load()
	if r == nil {
		r = c.add(at)
	}
	if r == noRoom {
		return nil
	}
	return r
}

func (c *claims) add(at *atomic.Pointer[region]) *region {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := at.Load(); r != nil {
		return r
	}
	r := noRoom
	if c.room > 0 {
		r = c.spares.take()
		c.room--
	} else {
		c.over.Store(true)
	}
	at.Store(r)
	return r
}

// known returns a region that has claims, or nil.
func (c *claims) known(n uint64) *region {
	s := c.sheafs[n/sheafRegions].Load()
	if s == nil {
		return nil
	}
	if r := s[n%sheafRegions].Load(); r != noRoom {
		return r
	}
	return nil
}

// mapped calls visit with each region that has claims, in order; r is nil where
// they are not kept.
func (c *claims) mapped(visit func(n uint64, r *region) error) error {
	for i := range c.sheafs {
		s := c.sheafs[i].Load()
		if s == nil {
			continue
		}
		for j := range s {
			r := s[j].Load()
			if r == nil {
				continue
			}
			if r == noRoom {
				r = nil
			}
			if err := visit(uint64(i)*sheafRegions+uint64(j), r); err != nil {
				return err
			}
		}
	}
	return nil
}

// windows divides everything into runs with at most so many mapped regions.
func (c *claims) windows(regions int) []window {
	windows, in := []window{{0, allRegions}}, 0
	c.mapped(func(n uint64, _ *region) error {
		if in == regions {
			windows[len(windows)-1].end = n
			windows, in = append(windows, window{n, allRegions}), 0
		}
		in++
		return nil
	})
	return windows
}

// claim notes that leaf maps the block at i, and reports whether nobody else
// does so far. Who was alone before is told through second.
func (r *region) claim(i uint64, leaf uint32, second func(uint32)) bool {
	at := &r[i%regionBlocks]
	if atomic.CompareAndSwapUint32(at, 0, leaf) {
		return true
	}
	for {
		old := atomic.LoadUint32(at)
		switch {
		case old&manyMark == 0:
			if atomic.CompareAndSwapUint32(at, old, manyMark|2) {
				second(old)
				return false
			}
		case old == ^uint32(0): // as high as it counts
			return false
		default:
			if atomic.CompareAndSwapUint32(at, old, old+1) {
				return false
			}
		}
	}
}
