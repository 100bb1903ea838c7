package dmtest

import (
	"golang.org/x/sys/unix"

	"thinctl/dm"
)

// The virtual blocks of a thin device, and the data blocks to which they are mapped.

// lookup returns the mapping of a virtual block. As in the kernel, shared depends on
// the time: a block that is older than the device's last snapshot counts as shared,
// even after that snapshot is deleted (dm-thin-metadata.c, __snapshotted_since).
func (m *metadata) lookup(id uint32, virtual uint64) (at mapping, shared, ok bool) {
	v, _ := m.cur.volumes.get(uint64(id))
	at, ok = v.blocks.get(virtual)
	return at, ok && v.snapshotted > at.time, ok
}

// freeData returns the number of free data blocks. It includes the blocks that the
// transaction in progress has freed, although they cannot be allocated before its
// commit (dm-space-map-disk.c, sm_disk_get_nr_free and sm_disk_new_block).
func (m *metadata) freeData() uint64 {
	return m.old.dataBlocks - min(m.old.dataBlocks, m.cur.usedData())
}

func (m *metadata) allocData() (uint64, error) {
	block, ok := m.commonFree(m.begin, m.cur.dataBlocks)
	if !ok {
		block, ok = m.commonFree(0, m.begin)
	}
	if !ok {
		return 0, unix.ENOSPC
	}
	m.begin = block + 1
	return block, nil
}

// commonFree returns a block in [from, to) that is free in both transactions, so that
// no committed block is overwritten before the next commit.
func (m *metadata) commonFree(from, to uint64) (uint64, bool) {
	for {
		block, ok := m.cur.dataRefs.firstAbsent(from, to)
		if !ok || !m.cur.inUse(block) && !m.old.inUse(block) {
			return block, ok
		}
		from = block + 1
	}
}

// mapBlock maps a virtual block to a new data block.
func (m *metadata) mapBlock(id uint32, virtual, block uint64) {
	s := m.edit()
	v, _ := s.volumes.get(uint64(id))
	if was, ok := v.blocks.get(virtual); ok {
		s.decData(was.block)
	}
	s.incData(block)
	v.blocks = v.blocks.set(virtual, mapping{block: block, time: s.time})
	s.volumes = s.volumes.set(uint64(id), v)
}

// unmap removes the mappings in [from, to) and returns the data blocks that are free
// then.
func (m *metadata) unmap(id uint32, from, to uint64) (freed []uint64) {
	v, _ := m.cur.volumes.get(uint64(id))
	left := v.blocks
	v.blocks.all(func(virtual uint64, at mapping) bool {
		if virtual < from || virtual >= to {
			return virtual < to
		}
		left = left.del(virtual)
		s := m.edit()
		if s.decData(at.block); !s.inUse(at.block) {
			freed = append(freed, at.block)
		}
		return true
	})
	if left.len() == v.blocks.len() {
		return nil
	}
	v.blocks = left
	m.cur.volumes = m.cur.volumes.set(uint64(id), v)
	return freed
}

// reserve returns the number of metadata blocks that a pool keeps for commits and does
// not report as free (dm-thin-metadata.c, __set_metadata_reserve).
func (m *metadata) reserve() uint64 {
	if !m.kernel.poolVersion().AtLeast(1, 21) {
		return 0
	}
	const most = 4096
	return min(most, m.cur.metaBlocks/10)
}

func (m *metadata) freeMeta() uint64 {
	taken := m.cur.usedMeta() + m.reserve()
	return m.cur.metaBlocks - min(m.cur.metaBlocks, taken)
}

// lowMeta returns the number of free metadata blocks below which a pool raises an event
// (dm-thin.c, calc_metadata_threshold).
func lowMeta(size uint64) uint64 {
	const most = 1024
	return min(most, size/4)
}

func (m *metadata) belowLowMeta() bool {
	free := m.cur.metaBlocks - min(m.cur.metaBlocks, m.cur.usedMeta())
	return free <= lowMeta(metaBlocks(m.kernel.sizeOf(m.dev)))
}

func validThinID(id uint64) bool { return id <= dm.MaxThinID }
