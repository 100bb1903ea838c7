package dmtest

import (
	"errors"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// mode is a pool's mode (drivers/md/dm-thin.c, enum pool_mode), from best to worst.
type mode int

const (
	modeWrite mode = iota
	modeNoData
	modeNoMeta
	modeReadOnly
	modeFail
)

// features are a pool's flags (struct pool_features).
type features struct {
	mode           mode
	skipZeroing    bool
	ignoreDiscard  bool
	noPassdown     bool
	errorIfNoSpace bool
}

// pool is the state that the pool target and its thin targets share. It exists while a
// table needs it (struct pool).
type pool struct {
	k             *Kernel
	owner         *device
	metaDev, data blockdev.Number
	meta          *metadata
	sectors       units.Sectors
	refs          int

	bound        *poolTarget // the target in the live table
	features     features
	lowWater     uint64
	lowWaterSent bool
	lowMetaSent  bool
	suspended    bool
	thins        map[*thin]struct{}
}

// findPool returns the running pool of a table, or a new one (__pool_find).
func (k *Kernel) findPool(d *device, meta, data blockdev.Number, block units.Sectors, readOnly bool) (*pool, error) {
	if p := k.poolsOn[meta]; p != nil {
		if p.owner != d || p.data != data {
			return nil, unix.EBUSY
		}
		return p, nil
	}
	if k.pools[d] != nil {
		return nil, unix.EINVAL // a different pool cannot replace a pool
	}
	m, err := k.openMetadata(meta, block, !readOnly)
	if err != nil {
		return nil, err
	}
	p := &pool{
		k: k, owner: d, metaDev: meta, data: data, meta: m, sectors: block,
		suspended: true, thins: make(map[*thin]struct{}),
	}
	k.pools[d], k.poolsOn[meta] = p, p
	return p, nil
}

func (p *pool) put() {
	if p.refs--; p.refs > 0 {
		return
	}
	delete(p.k.pools, p.owner)
	delete(p.k.poolsOn, p.metaDev)
	if p.features.mode < modeNoMeta {
		_ = p.meta.commit() // dm_pool_metadata_close only warns
	}
}

// setMode follows set_pool_mode.
func (p *pool) setMode(next mode) {
	old := p.features.mode
	if next == modeWrite && p.meta.cur.needsCheck {
		if next = old; old == modeWrite {
			next = modeReadOnly
		}
	}
	if old == modeFail {
		next = modeFail
	}
	if next == modeWrite && p.bound != nil {
		p.features.errorIfNoSpace = p.bound.requested.errorIfNoSpace
	}
	p.features.mode = next
	if p.bound != nil {
		p.bound.adjusted.mode = next
	}
	if next != old {
		p.k.event(p.owner)
	}
}

func (p *pool) commit() error {
	if p.features.mode >= modeNoMeta {
		return unix.EINVAL
	}
	p.k.commits++
	if err := p.meta.commit(); err != nil {
		p.metadataFailed()
		return err
	}
	p.checkMetaSpace()
	if p.features.mode == modeNoData && p.meta.freeData() > 0 {
		p.setMode(modeWrite)
	}
	return nil
}

// checkMetaSpace ends write mode before the reserve is used. In kernels without a
// reserve a metadata operation fails instead.
func (p *pool) checkMetaSpace() {
	switch {
	case p.meta.freeMeta() > 0 || p.features.mode >= modeNoMeta:
	case p.k.poolVersion().AtLeast(1, 21):
		p.setMode(modeNoMeta)
	default:
		p.metadataFailed()
	}
}

// metadataFailed handles a failed metadata operation (metadata_operation_failed).
func (p *pool) metadataFailed() {
	if p.meta.abort() != nil {
		p.setMode(modeFail)
	}
	if p.meta.setNeedsCheck() != nil {
		p.setMode(modeFail)
	}
	p.setMode(modeReadOnly)
}

// touched raises the metadata low-water event when the free blocks fall below the mark
// (dm-space-map-metadata.c, check_threshold).
func (p *pool) touched() {
	low := p.meta.belowLowMeta()
	if low && !p.lowMetaSent {
		p.k.event(p.owner)
	}
	p.lowMetaSent = low
}

// alloc follows alloc_data_block, which checks the low-water mark before it allocates
// the block. So the first allocation with free blocks at or below the mark raises the
// event.
func (p *pool) alloc() (uint64, error) {
	if p.features.mode != modeWrite {
		return 0, unix.EINVAL
	}
	if !p.lowWaterSent && p.meta.freeData() <= p.lowWater {
		p.lowWaterSent = true
		p.k.event(p.owner)
	}
	if p.meta.freeData() == 0 {
		if err := p.commit(); err != nil {
			return 0, err
		}
		if p.meta.freeData() == 0 {
			p.setMode(modeNoData)
			return 0, unix.ENOSPC
		}
	}
	block, err := p.meta.allocData()
	if err != nil {
		p.setMode(modeNoData)
		return 0, err
	}
	if p.meta.freeMeta() == 0 {
		if err := p.commit(); err != nil {
			return 0, err
		}
		if p.features.mode != modeWrite {
			return 0, unix.EIO // process_prepared_mapping_fail
		}
	}
	return block, nil
}

// resizeData follows maybe_resize_data_dev, which ignores growth without an error if
// the pool needs a check.
func (p *pool) resizeData(length units.Sectors) (changed bool, err error) {
	want, have := uint64(length/p.sectors), p.meta.old.dataBlocks
	switch {
	case want < have:
		return false, unix.EINVAL
	case want == have || p.meta.cur.needsCheck:
		return false, nil
	}
	p.meta.edit().dataBlocks = want
	return true, nil
}

func (p *pool) resizeMeta() (changed bool, err error) {
	want, have := metaBlocks(p.k.sizeOf(p.metaDev)), p.meta.cur.metaBlocks
	switch {
	case want < have:
		return false, unix.EINVAL
	case want == have || p.meta.cur.needsCheck:
		return false, nil
	}
	if p.features.mode == modeNoMeta {
		p.setMode(modeWrite)
	}
	p.meta.edit().metaBlocks = want
	return true, nil
}

// poolAt returns the pool of a pool device.
func (k *Kernel) poolAt(dev blockdev.Number) (*pool, error) {
	d := k.devices[dev.Minor]
	if dev.Major != Major || d == nil || k.pools[d] == nil {
		return nil, errors.New("dmtest: no pool on " + dev.String())
	}
	return k.pools[d], nil
}

// ExpireNoSpace ends the time for which a full pool queues writes (module parameter
// no_space_timeout). Afterwards writes fail. Targets before 1.15 become read-only
// instead.
func (k *Kernel) ExpireNoSpace(dev blockdev.Number) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.poolAt(dev)
	if err != nil {
		return err
	}
	if p.features.mode == modeNoData && !p.features.errorIfNoSpace {
		if !k.poolVersion().AtLeast(1, 15) {
			p.setMode(modeReadOnly)
			return nil
		}
		p.features.errorIfNoSpace = true
		k.event(p.owner)
	}
	return nil
}

// FailMetadata makes a metadata operation of the pool on dev fail. The pool loses its
// uncommitted changes, needs a check and is read-only.
func (k *Kernel) FailMetadata(dev blockdev.Number) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.poolAt(dev)
	if err == nil {
		p.metadataFailed()
	}
	return err
}

// FailPool sets the pool on dev to fail mode.
func (k *Kernel) FailPool(dev blockdev.Number) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.poolAt(dev)
	if err == nil {
		p.meta.failIO = true
		p.setMode(modeFail)
	}
	return err
}
