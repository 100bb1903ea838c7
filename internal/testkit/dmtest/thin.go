package dmtest

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/units"
)

// thin is a thin target in one table (struct thin_c).
type thin struct {
	idle
	device  *device
	pool    *pool
	poolDev blockdev.Number
	origin  blockdev.Number // has the content of unmapped blocks; zero for none
	id      uint32
	stopped bool // the suspended pool is counted in device.inner
}

// thin follows thin_ctr. Several devices may use the same id.
func (b builder) thin() (target, error) {
	if len(b.args) != 2 && len(b.args) != 3 {
		return nil, unix.EINVAL
	}
	t := &thin{device: b.d}
	var err error
	if len(b.args) == 3 {
		if b.args[0] == b.args[2] {
			return nil, unix.EINVAL
		}
		if t.origin, err = b.open(b.args[2]); err != nil {
			return nil, err
		}
	}
	if t.poolDev, err = b.open(b.args[0]); err != nil {
		return nil, err
	}
	id, err := strconv.ParseUint(b.args[1], 10, 64)
	if err != nil || !validThinID(id) {
		return nil, unix.EINVAL
	}
	t.id = uint32(id)
	if t.pool, err = b.k.poolAt(t.poolDev); err != nil || t.pool.features.mode == modeFail {
		return nil, unix.EINVAL
	}
	if !t.pool.meta.cur.volumes.has(id) {
		return nil, unix.ENODATA
	}
	if t.pool.suspended {
		return nil, unix.EINVAL
	}
	t.pool.refs++
	t.pool.meta.open[t.id]++
	t.pool.thins[t] = struct{}{}
	return t, nil
}

func (t *thin) destroy() {
	if t.stopped {
		t.device.inner--
	}
	delete(t.pool.thins, t)
	t.pool.meta.open[t.id]--
	t.pool.put()
}

// table returns Fail for a thin volume of a failed pool, as thin_status does.
func (t *thin) table() string {
	if t.pool.features.mode == modeFail {
		return "Fail"
	}
	return dm.Thin{Pool: t.poolDev, ID: t.id, ExternalOrigin: t.origin}.Line().Params
}

func (t *thin) status(bool) string {
	if t.pool.features.mode == modeFail {
		return "Fail"
	}
	v, _ := t.pool.meta.cur.volumes.get(uint64(t.id))
	status := dm.ThinStatus{Mapped: units.Sectors(v.blocks.len()) * t.pool.sectors}
	if highest, ok := v.blocks.highest(); ok {
		status.Highest = units.Sectors(highest+1)*t.pool.sectors - 1
	}
	return status.Line(0).Params
}

func (t *thin) discards() bool { return !t.pool.features.ignoreDiscard }

func (t *thin) io(op op, offset, length units.Bytes, data []byte) error {
	if t.pool.features.mode == modeFail {
		return unix.EIO
	}
	if op == opDiscard {
		t.discard(offset, length)
		return nil
	}
	size := t.pool.sectors.Bytes()
	for length > 0 {
		block, skip := uint64(offset/size), offset%size
		n := min(size-skip, length)
		var part []byte
		if data != nil {
			part, data = data[:n], data[n:]
		}
		var err error
		if op == opRead {
			err = t.read(block, skip, n, part)
		} else {
			err = t.write(block, skip, n, part)
		}
		if err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

func (t *thin) at(block uint64) units.Bytes { return units.Bytes(block) * t.pool.sectors.Bytes() }

func (t *thin) read(block uint64, skip, n units.Bytes, data []byte) error {
	k := t.pool.k
	if at, _, ok := t.pool.meta.lookup(t.id, block); ok {
		return k.io(t.pool.data, opRead, t.at(at.block)+skip, n, data)
	}
	clear(data)
	if t.origin.IsZero() {
		return nil
	}
	from := t.at(block) + skip
	if size := k.sizeOf(t.origin); from < size {
		n = min(n, size-from)
		if data != nil {
			data = data[:n]
		}
		return k.io(t.origin, opRead, from, n, data)
	}
	return nil
}

// write follows process_cell, and __process_bio_read_only if the pool does not allocate
// blocks.
func (t *thin) write(block uint64, skip, n units.Bytes, data []byte) error {
	p := t.pool
	at, shared, ok := p.meta.lookup(t.id, block)
	if ok && !shared {
		return p.k.io(p.data, opWrite, t.at(at.block)+skip, n, data)
	}
	if p.features.mode != modeWrite {
		return p.unserviceable()
	}
	fresh, err := p.alloc()
	if errors.Is(err, unix.ENOSPC) {
		refused := p.unserviceable()
		// The kernel's periodic commit comes within a second. Blocks that were freed
		// but not committed then end the shortage.
		_ = p.commit()
		return refused
	}
	if err != nil {
		return unix.EIO
	}
	if err := t.fill(fresh, block, ok); err != nil {
		return err
	}
	if err := p.k.io(p.data, opWrite, t.at(fresh)+skip, n, data); err != nil {
		return err
	}
	p.meta.mapBlock(t.id, block, fresh)
	p.touched()
	return nil
}

// unserviceable returns the error of a write that needs space
// (should_error_unserviceable_bio).
func (p *pool) unserviceable() error {
	switch {
	case p.features.mode != modeNoData:
		return unix.EIO
	case p.features.errorIfNoSpace:
		return unix.ENOSPC
	}
	return ErrWouldBlock
}

// fill writes the first content of a new data block: that of the shared block or of the
// external origin, or zeros. With skip_block_zeroing it keeps the old content.
func (t *thin) fill(fresh, block uint64, wasMapped bool) error {
	k, size := t.pool.k, t.pool.sectors.Bytes()
	if !wasMapped && t.origin.IsZero() {
		if t.pool.features.skipZeroing {
			return nil
		}
		return k.zero(t.pool.data, t.at(fresh), size)
	}
	const most = units.MiB
	for done := units.Bytes(0); done < size; {
		b := make([]byte, min(size-done, most))
		if err := t.read(block, done, units.Bytes(len(b)), b); err != nil {
			return err
		}
		if err := k.raw(t.pool.data, opWrite, t.at(fresh)+done, b); err != nil {
			return err
		}
		done += units.Bytes(len(b))
	}
	return nil
}

// zero writes zeros. It uses a discard if the disk supports it.
func (k *Kernel) zero(dev blockdev.Number, offset, length units.Bytes) error {
	if k.discards(dev) {
		return k.io(dev, opDiscard, offset, length, nil)
	}
	const most = units.MiB
	zeros := make([]byte, min(length, most))
	for done := units.Bytes(0); done < length; done += units.Bytes(len(zeros)) {
		part := zeros[:min(length-done, units.Bytes(len(zeros)))]
		if err := k.raw(dev, opWrite, offset+done, part); err != nil {
			return err
		}
	}
	return nil
}

// discard unmaps the whole blocks in the range. On a read-only pool it has no effect.
func (t *thin) discard(offset, length units.Bytes) {
	p := t.pool
	if p.features.mode >= modeNoMeta {
		return
	}
	size := p.sectors.Bytes()
	from, to := uint64(offset.RoundUp(size)/size), uint64((offset+length)/size)
	if from >= to {
		return
	}
	freed := p.meta.unmap(t.id, from, to)
	p.touched()
	if !p.features.noPassdown {
		for _, block := range freed {
			_ = p.k.io(p.data, opDiscard, t.at(block), size, nil) // the kernel only logs a failure
		}
	}
	if p.features.mode == modeNoData {
		_ = p.commit() // stands for the kernel's periodic commit
	}
}
