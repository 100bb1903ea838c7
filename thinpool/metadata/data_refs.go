package metadata

import (
	"sync"
	"sync/atomic"

	"thinctl/units"
)

const (
	regionBlocks = 1 << 16 // data blocks of one region
	regionSize   = 4 * units.Bytes(regionBlocks)
	tableRegions = 1 << 12 // regions of one table

	// maxDataBlock is the highest number that fits the 40 bits of a mapping.
	maxDataBlock = 1<<40 - 1
	allRegions   = (maxDataBlock + 1) / regionBlocks

	// An entry of a region is 0 for a free block, the vertex of the leaf if one mapping
	// refers to the block, and otherwise the number of mappings with countFlag set.
	countFlag = 1 << 31
)

// region has one entry for each of regionBlocks data blocks.
type region [regionBlocks]uint32

// regionTable holds tableRegions regions; nil stands for a region without mapped blocks.
type regionTable [tableRegions]atomic.Pointer[region]

// window is a range of regions.
type window struct{ first, end uint64 }

// dataRefs holds for each data block in a window the leaf that maps it, or the number of
// mappings. Only regions with mapped blocks take memory. When the budget is used up, overBudget
// is set, and dataRefs only records which regions have mapped blocks. Goroutines may call its
// methods concurrently.
type dataRefs struct {
	window
	pool       *regionPool
	mu         sync.Mutex
	budget     int64 // regions that may still be allocated
	overBudget atomic.Bool
	used       atomic.Uint64 // blocks with references
	tables     [allRegions / tableRegions]atomic.Pointer[regionTable]
}

// regionPool holds regions for reuse, so that a new window does not allocate memory while the
// last one still has its own.
type regionPool struct {
	mu   sync.Mutex
	free []*region
}

func (s *regionPool) get() *region {
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

// release returns the regions of c to the pool. c must not be used again.
func (c *dataRefs) release() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	_ = c.eachRegion(func(_ uint64, r *region) error {
		if r != nil {
			c.pool.free = append(c.pool.free, r)
		}
		return nil
	})
}

// notKept stands for a region that has mapped blocks and no memory.
var notKept = new(region)

func newDataRefs(w window, budget int64, s *regionPool) *dataRefs {
	return &dataRefs{window: w, budget: budget, pool: s}
}

// region returns the region of a data block, nil if it is not kept.
func (c *dataRefs) region(block uint64) *region {
	n := block / regionBlocks
	if n < c.first || n >= c.end {
		return nil
	}
	s := c.tables[n/tableRegions].Load()
	if s == nil {
		c.tables[n/tableRegions].CompareAndSwap(nil, new(regionTable))
		s = c.tables[n/tableRegions].Load()
	}
	at := &s[n%tableRegions]
	r := at.Load()
	if r == nil {
		r = c.add(at)
	}
	if r == notKept {
		return nil
	}
	return r
}

func (c *dataRefs) add(at *atomic.Pointer[region]) *region {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := at.Load(); r != nil {
		return r
	}
	r := notKept
	if c.budget > 0 {
		r = c.pool.get()
		c.budget--
	} else {
		c.overBudget.Store(true)
	}
	at.Store(r)
	return r
}

// lookup returns region n, or nil if it has no mapped blocks or is not kept.
func (c *dataRefs) lookup(n uint64) *region {
	s := c.tables[n/tableRegions].Load()
	if s == nil {
		return nil
	}
	if r := s[n%tableRegions].Load(); r != notKept {
		return r
	}
	return nil
}

// eachRegion calls visit with each region that has mapped blocks, in order. r is nil if the
// region is not kept.
func (c *dataRefs) eachRegion(visit func(n uint64, r *region) error) error {
	for i := range c.tables {
		s := c.tables[i].Load()
		if s == nil {
			continue
		}
		for j := range s {
			r := s[j].Load()
			if r == nil {
				continue
			}
			if r == notKept {
				r = nil
			}
			if err := visit(uint64(i)*tableRegions+uint64(j), r); err != nil {
				return err
			}
		}
	}
	return nil
}

// windows divides all regions into ranges with at most the given number of mapped regions.
func (c *dataRefs) windows(regions int) []window {
	windows, in := []window{{0, allRegions}}, 0
	_ = c.eachRegion(func(n uint64, _ *region) error {
		if in == regions {
			windows[len(windows)-1].end = n
			windows, in = append(windows, window{n, allRegions}), 0
		}
		in++
		return nil
	})
	return windows
}

// addRef adds a reference from leaf to block i, and reports whether it is the first. At the
// second it passes the leaf of the first to second.
func (r *region) addRef(i uint64, leaf uint32, second func(uint32)) bool {
	at := &r[i%regionBlocks]
	if atomic.CompareAndSwapUint32(at, 0, leaf) {
		return true
	}
	for {
		old := atomic.LoadUint32(at)
		switch {
		case old&countFlag == 0:
			if atomic.CompareAndSwapUint32(at, old, countFlag|2) {
				second(old)
				return false
			}
		case old == ^uint32(0): // the highest count
			return false
		default:
			if atomic.CompareAndSwapUint32(at, old, old+1) {
				return false
			}
		}
	}
}
