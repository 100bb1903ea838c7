package dmtest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// ErrWouldBlock is the error of IO that would wait in the kernel: the device is
// suspended, or its pool is full and queues writes.
var ErrWouldBlock = errors.New("dmtest: the IO would block")

type op int

const (
	opRead op = iota
	opWrite
	opDiscard
)

// stampSize is the size of a stamp, which is at the start of a block.
const stampSize = 8

// plainBlock is the block size for stamps on devices other than thin volumes.
const plainBlock = 64 * units.KiB

// Write writes to a range without data: it provisions blocks and ends their sharing,
// but keeps the stamps. The error is [ErrWouldBlock] or an errno.
func (k *Kernel) Write(dev blockdev.Number, offset, length units.Bytes) error {
	return k.user(dev, opWrite, offset, length, nil)
}

// Read reads a range and drops the data.
func (k *Kernel) Read(dev blockdev.Number, offset, length units.Bytes) error {
	return k.user(dev, opRead, offset, length, nil)
}

// Discard discards a range. A thin volume frees the whole blocks in it.
func (k *Kernel) Discard(dev blockdev.Number, offset, length units.Bytes) error {
	return k.user(dev, opDiscard, offset, length, nil)
}

// WriteStamp writes a stamp into a block. Blocks have the pool's block size on a thin
// volume, and 64 KiB on other devices.
func (k *Kernel) WriteStamp(dev blockdev.Number, block, stamp uint64) error {
	b := binary.LittleEndian.AppendUint64(nil, stamp)
	return k.user(dev, opWrite, units.Bytes(block)*k.StampBlock(dev), stampSize, b)
}

// ReadStamp returns the stamp that WriteStamp wrote, 0 if there is none.
func (k *Kernel) ReadStamp(dev blockdev.Number, block uint64) (uint64, error) {
	b := make([]byte, stampSize)
	err := k.user(dev, opRead, units.Bytes(block)*k.StampBlock(dev), stampSize, b)
	return binary.LittleEndian.Uint64(b), err
}

// StampBlock returns the block size for stamps on dev.
func (k *Kernel) StampBlock(dev blockdev.Number) units.Bytes {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.devices[dev.Minor]; dev.Major == Major && d != nil && d.live != nil {
		if t, ok := d.live.targets[0].target.(*thin); ok {
			return t.pool.sectors.Bytes()
		}
	}
	return plainBlock
}

func (k *Kernel) user(dev blockdev.Number, op op, offset, length units.Bytes, data []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.devices[dev.Minor]; dev.Major == Major && d != nil && d.readOnly && op != opRead {
		return ioError(dev, op, offset, unix.EROFS)
	}
	if offset+length > k.sizeOf(dev) {
		return ioError(dev, op, offset, unix.EINVAL)
	}
	if err := k.io(dev, op, offset, length, data); err != nil {
		return ioError(dev, op, offset, err)
	}
	return nil
}

func ioError(dev blockdev.Number, op op, offset units.Bytes, err error) error {
	return fmt.Errorf("dmtest: %s %s at %d: %w", [...]string{"read", "write", "discard"}[op], dev, offset, err)
}

// raw performs IO of the kernel itself, with data.
func (k *Kernel) raw(dev blockdev.Number, op op, offset units.Bytes, data []byte) error {
	return k.io(dev, op, offset, units.Bytes(len(data)), data)
}

// io performs IO on a range of a device, down to the disks.
func (k *Kernel) io(dev blockdev.Number, op op, offset, length units.Bytes, data []byte) error {
	if dev.Major != Major {
		return k.diskIO(dev, op, offset, length, data)
	}
	d := k.devices[dev.Minor]
	switch {
	case d == nil:
		return unix.ENXIO
	case d.stopped():
		return ErrWouldBlock
	case d.live == nil:
		return unix.EIO
	}
	for _, p := range d.live.targets {
		start, end := p.start.Bytes(), (p.start + p.length).Bytes()
		from, to := max(offset, start), min(offset+length, end)
		if from >= to {
			continue
		}
		var part []byte
		if data != nil {
			part = data[from-offset : to-offset]
		}
		if op == opDiscard && !p.target.discards() {
			return unix.EOPNOTSUPP
		}
		if err := p.target.io(op, from-start, to-from, part); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kernel) diskIO(dev blockdev.Number, op op, offset, length units.Bytes, data []byte) error {
	disk := k.disks[dev]
	if disk == nil || offset+length > disk.Size() {
		return unix.EIO
	}
	var err error
	switch {
	case op == opDiscard:
		d, ok := disk.(discarder)
		if !ok {
			return unix.EOPNOTSUPP
		}
		err = d.Discard(offset, length)
	case data == nil:
	case op == opRead:
		_, err = disk.ReadAt(data, int64(offset))
	default:
		_, err = disk.WriteAt(data, int64(offset))
	}
	if err != nil {
		return unix.EIO
	}
	return nil
}

func (k *Kernel) discards(dev blockdev.Number) bool {
	if dev.Major != Major {
		_, ok := k.disks[dev].(discarder)
		return ok
	}
	d := k.devices[dev.Minor]
	if d == nil || d.live == nil {
		return false
	}
	for _, p := range d.live.targets {
		if p.target.discards() {
			return true
		}
	}
	return false
}

// Flush flushes a device: the pool of a thin volume commits (dm-thin.c,
// process_deferred_bios).
func (k *Kernel) Flush(dev blockdev.Number) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.devices[dev.Minor]
	switch {
	case dev.Major != Major || d == nil || d.live == nil:
		return unix.ENXIO
	case d.stopped():
		return ErrWouldBlock
	}
	for _, p := range d.live.targets {
		if t, ok := p.target.(*thin); ok {
			if err := t.pool.commit(); err != nil {
				return unix.EIO
			}
		}
	}
	return nil
}
