package dmtest

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/units"
)

// poolTarget is a thin-pool target in one table (struct pool_c).
type poolTarget struct {
	pool      *pool
	length    units.Sectors
	lowWater  uint64
	requested features
	adjusted  features
}

// pool follows pool_ctr. A running pool keeps its block size, whatever the table has.
func (b builder) pool() (target, error) {
	if len(b.args) < 4 || b.args[0] == b.args[1] {
		return nil, unix.EINVAL
	}
	wanted, err := b.poolFeatures()
	if err != nil {
		return nil, err
	}
	meta, err := b.open(b.args[0])
	if err != nil {
		return nil, err
	}
	data, err := b.open(b.args[1])
	if err != nil {
		return nil, err
	}
	block, err := b.poolBlock()
	if err != nil {
		return nil, err
	}
	lowWater, err := strconv.ParseUint(b.args[3], 10, 64)
	if err != nil {
		return nil, unix.EINVAL
	}
	p, err := b.k.findPool(b.d, meta, data, block, wanted.mode == modeReadOnly)
	if err != nil {
		return nil, err
	}
	if p.refs > 0 && wanted.ignoreDiscard != p.features.ignoreDiscard {
		return nil, unix.EINVAL
	}
	p.refs++
	t := &poolTarget{pool: p, length: b.line.Length, lowWater: lowWater, requested: wanted, adjusted: wanted}
	if !wanted.noPassdown && !wanted.ignoreDiscard && !b.k.discards(data) {
		t.adjusted.noPassdown = true
	}
	return t, nil
}

func (b builder) poolBlock() (units.Sectors, error) {
	n, err := strconv.ParseUint(b.args[2], 10, 64)
	block := units.Sectors(n)
	least := dm.MinBlock.Sectors()
	old := !b.k.poolVersion().AtLeast(1, 4)
	if err != nil || block < least || block > dm.MaxBlock.Sectors() || block%least != 0 || old && block&(block-1) != 0 {
		return 0, unix.EINVAL
	}
	return block, nil
}

func (b builder) poolFeatures() (features, error) {
	var f features
	if len(b.args) == 4 {
		return f, nil
	}
	const most = 4 // parse_pool_features
	count, err := strconv.ParseUint(b.args[4], 10, 64)
	if err != nil || count > most || count > uint64(len(b.args)-5) {
		return f, unix.EINVAL
	}
	for _, name := range b.args[5 : 5+count] {
		switch strings.ToLower(name) {
		case "skip_block_zeroing":
			f.skipZeroing = true
		case "ignore_discard":
			f.ignoreDiscard = true
		case "no_discard_passdown":
			f.noPassdown = true
		case "read_only":
			f.mode = modeReadOnly
		case "error_if_no_space":
			if !b.k.poolVersion().AtLeast(1, 10) {
				return f, unix.EINVAL
			}
			f.errorIfNoSpace = true
		default:
			return f, unix.EINVAL
		}
	}
	return f, nil
}

func (t *poolTarget) table() string {
	f := t.requested
	return strings.TrimPrefix(dm.ThinPool{
		Metadata: t.pool.metaDev, Data: t.pool.data, Block: t.pool.sectors, LowWater: t.lowWater,
		SkipBlockZeroing: f.skipZeroing, IgnoreDiscard: f.ignoreDiscard, NoDiscardPassdown: f.noPassdown,
		ReadOnly: f.mode == modeReadOnly, ErrorIfNoSpace: f.errorIfNoSpace,
	}.Line().Params, " ")
}

func (t *poolTarget) areas() []area { return []area{{t.pool.data, 0, t.length}} }

func (t *poolTarget) discards() bool { return !t.adjusted.noPassdown && !t.adjusted.ignoreDiscard }

func (t *poolTarget) io(op op, offset, length units.Bytes, data []byte) error {
	return t.pool.k.io(t.pool.data, op, offset, length, data)
}

func (t *poolTarget) destroy() {
	if t.pool.bound == t {
		t.pool.bound = nil
	}
	t.pool.put()
}

// preresume follows pool_preresume and bind_control_target.
func (t *poolTarget) preresume() error {
	p := t.pool
	next := t.adjusted.mode
	t.adjusted.mode = p.features.mode
	p.bound, p.features, p.lowWater = t, t.adjusted, t.lowWater
	p.setMode(next)

	grewData, err := p.resizeData(t.length)
	if err == nil {
		var grewMeta bool
		if grewMeta, err = p.resizeMeta(); err == nil && (grewData || grewMeta) {
			_ = p.commit()
		}
	}
	if err != nil && p.features.mode == modeFail {
		return nil
	}
	return err
}

func (t *poolTarget) resume() {
	p := t.pool
	for thin := range p.thins {
		if thin.stopped {
			thin.stopped = false
			thin.device.inner--
		}
	}
	p.lowWaterSent = false
	p.suspended = false
}

func (t *poolTarget) presuspend() {
	t.pool.suspended = true
	for thin := range t.pool.thins {
		if !thin.stopped {
			thin.stopped = true
			thin.device.inner++
		}
	}
}

func (t *poolTarget) postsuspend() { _ = t.pool.commit() }

// status follows pool_status. It omits the tokens that newer targets have added.
func (t *poolTarget) status(noFlush bool) string {
	p := t.pool
	if p.features.mode == modeFail {
		return "Fail"
	}
	if !noFlush && !p.owner.suspended {
		_ = p.commit()
	}
	m := p.meta
	s := dm.PoolStatus{
		TransactionID:  m.cur.trans,
		UsedMetadata:   m.cur.metaBlocks - m.freeMeta(),
		TotalMetadata:  m.cur.metaBlocks,
		UsedData:       m.old.dataBlocks - m.freeData(),
		TotalData:      m.old.dataBlocks,
		HeldRoot:       m.cur.heldRoot,
		Discard:        p.features.discard(),
		ErrorIfNoSpace: p.features.errorIfNoSpace,
		NeedsCheck:     m.cur.needsCheck,
		MetadataLow:    lowMeta(metaBlocks(p.k.sizeOf(p.metaDev))),
	}
	switch p.features.mode {
	case modeNoData:
		s.Mode = dm.ModeOutOfDataSpace
	case modeNoMeta, modeReadOnly:
		s.Mode = dm.ModeReadOnly
	}
	if p.features.mode == modeFail { // the commit above failed
		return "Fail"
	}
	tokens := strings.Fields(s.Line(t.length).Params)
	return strings.Join(tokens[:p.k.statusTokens()], " ")
}

func (f features) discard() dm.Discard {
	switch {
	case f.ignoreDiscard:
		return dm.DiscardIgnored
	case f.noPassdown:
		return dm.DiscardNoPassdown
	}
	return dm.DiscardPassdown
}

func (k *Kernel) statusTokens() int {
	v := k.poolVersion()
	switch {
	case v.AtLeast(1, 19):
		return 9
	case v.AtLeast(1, 15):
		return 8
	case v.AtLeast(1, 10):
		return 7
	}
	return 6
}
