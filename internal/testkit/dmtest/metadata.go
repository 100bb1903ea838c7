package dmtest

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

// metadata is a loaded pool's metadata: the transaction in progress and the last
// committed one (drivers/md/dm-thin-metadata.c, struct dm_pool_metadata).
type metadata struct {
	kernel *Kernel
	dev    blockdev.Number

	cur     state
	old     state
	changed bool
	begin   uint64 // where the next search for a free data block starts
	// inService is set by the first change. Before it, commits write nothing.
	inService bool
	failIO    bool
	open      map[uint32]int // thin tables per device id
}

// metaBlocks returns the number of blocks that a pool uses of a metadata device.
func metaBlocks(size units.Bytes) uint64 {
	return uint64(min(size, dm.MaxMetadata) / metadataBlock)
}

// openMetadata reads the superblock. If the block is zero and format is set, it writes
// the first superblock.
func (k *Kernel) openMetadata(dev blockdev.Number, block units.Sectors, format bool) (*metadata, error) {
	m := &metadata{kernel: k, dev: dev, open: make(map[uint32]int)}
	b, err := m.readSuperblock()
	if err != nil {
		return nil, err
	}
	if allZero(b) {
		if !format {
			return nil, unix.EPERM
		}
		const least = 16 // blocks; below, the kernel's format fails with the same errno
		total := metaBlocks(k.sizeOf(dev))
		if total < least {
			return nil, unix.ENOSPC
		}
		m.cur = state{blockSectors: block, metaBlocks: total}
		m.inService = true
		if err := m.write(); err != nil {
			return nil, err
		}
		m.inService = false
		return m, nil
	}
	if m.old, err = k.committed(b); err != nil {
		return nil, err
	}
	if m.old.blockSectors != block {
		return nil, unix.EINVAL
	}
	m.restart()
	return m, nil
}

func (m *metadata) readSuperblock() ([]byte, error) {
	b := make([]byte, metadataBlock)
	return b, m.kernel.raw(m.dev, opRead, 0, b)
}

// committed returns the state that belongs to a superblock. The trees of a valid
// superblock from another store are unreadable.
func (k *Kernel) committed(b []byte) (state, error) {
	t, err := checkSuperblock(b)
	if err != nil {
		return state{}, err
	}
	s, ok := k.store.get(t)
	if !ok {
		return state{}, unix.EILSEQ
	}
	// The kernel updates the superblock in place, so it keeps a uuid that another
	// program has written, and the needs_check flag that thin_check has cleared.
	s.uuid = [16]byte(b[offUUID : offUUID+16])
	s.needsCheck = binary.LittleEndian.Uint32(b[offFlags:])&needsCheckFlag != 0
	return s, nil
}

// restart begins a transaction from the committed state.
func (m *metadata) restart() {
	m.cur = m.old
	m.changed = false
}

// edit marks the transaction as changed. Each change of cur needs it first.
func (m *metadata) edit() *state {
	m.changed, m.inService = true, true
	return &m.cur
}

// write writes cur to the disk and the store, and begins the next transaction.
func (m *metadata) write() error {
	m.cur.root = m.kernel.store.ids.next()
	t := m.kernel.store.put(m.cur)
	if err := m.kernel.raw(m.dev, opWrite, 0, encodeSuperblock(&m.cur, t)); err != nil {
		return err
	}
	m.old = m.cur
	m.restart()
	return nil
}

func (m *metadata) commit() error {
	if m.failIO {
		return unix.EINVAL
	}
	if !m.inService || !m.changed {
		return nil
	}
	return m.write()
}

// abort returns to the state on the disk. After lost writes this state may be older
// than the last commit.
func (m *metadata) abort() error {
	b, err := m.readSuperblock()
	if err == nil {
		var s state
		if s, err = m.kernel.committed(b); err == nil {
			m.old = s
		}
	}
	if err != nil {
		m.failIO = true
		return err
	}
	m.restart()
	m.begin = 0
	return nil
}

// setNeedsCheck writes the flag to the committed superblock immediately.
func (m *metadata) setNeedsCheck() error {
	if m.failIO {
		return unix.EINVAL
	}
	m.cur.needsCheck = true
	flagged := m.old
	flagged.needsCheck = true
	t := m.kernel.store.put(flagged)
	if err := m.kernel.raw(m.dev, opWrite, 0, encodeSuperblock(&flagged, t)); err != nil {
		return err
	}
	m.old = flagged
	return nil
}

func (m *metadata) create(id uint32) error {
	if m.cur.volumes.has(uint64(id)) {
		return unix.EEXIST
	}
	s := m.edit()
	s.volumes = s.volumes.set(uint64(id), volume{created: s.time, snapshotted: s.time})
	return nil
}

// snapshot gives the new volume the origin's mappings. From then on, blocks that were
// written before the pool's new time count as shared in both.
func (m *metadata) snapshot(id, origin uint32) error {
	if m.cur.volumes.has(uint64(id)) {
		return unix.EEXIST
	}
	v, ok := m.cur.volumes.get(uint64(origin))
	if !ok {
		return unix.ENODATA
	}
	s := m.edit()
	v.blocks.all(func(_ uint64, at mapping) bool {
		s.incData(at.block)
		return true
	})
	s.time++
	v.snapshotted = s.time
	s.volumes = s.volumes.set(uint64(origin), v)
	v.created = s.time
	s.volumes = s.volumes.set(uint64(id), v)
	return nil
}

func (m *metadata) delete(id uint32) error {
	v, ok := m.cur.volumes.get(uint64(id))
	if !ok {
		return unix.ENODATA
	}
	if m.open[id] > 0 {
		return unix.EBUSY
	}
	s := m.edit()
	v.blocks.all(func(_ uint64, at mapping) bool {
		s.decData(at.block)
		return true
	})
	s.volumes = s.volumes.del(uint64(id))
	return nil
}

func (m *metadata) setTransaction(from, to uint64) error {
	if m.cur.trans != from {
		return unix.EINVAL
	}
	m.edit().trans = to
	return nil
}

func (m *metadata) reserveSnap() error {
	if m.cur.held != nil {
		return unix.EBUSY
	}
	s := m.edit()
	s.heldRoot = s.usedMeta()
	s.held = &heldState{
		number: m.kernel.store.ids.next(), trans: s.trans, time: s.time, volumes: s.volumes, dataRefs: s.dataRefs,
	}
	return nil
}

func (m *metadata) releaseSnap() error {
	if m.cur.held == nil {
		return unix.EINVAL
	}
	s := m.edit()
	s.held, s.heldRoot, s.heldOnly = nil, 0, 0
	return nil
}
