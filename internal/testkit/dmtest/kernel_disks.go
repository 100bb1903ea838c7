package dmtest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// AddDisk adds a disk with a device number.
func (k *Kernel) AddDisk(dev blockdev.Number, disk Disk) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if dev.Major == Major || dev.IsZero() || k.disks[dev] != nil {
		return fmt.Errorf("dmtest: add disk %s: %w", dev, unix.EEXIST)
	}
	k.disks[dev] = disk
	return nil
}

// RemoveDisk removes a disk. EBUSY: the disk is in a table or held open.
func (k *Kernel) RemoveDisk(dev blockdev.Number) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.disks[dev] == nil:
		return fmt.Errorf("dmtest: remove disk %s: %w", dev, unix.ENXIO)
	case k.opens[dev] > 0:
		return fmt.Errorf("dmtest: remove disk %s: %w", dev, unix.EBUSY)
	}
	delete(k.disks, dev)
	return nil
}

// ResizeDisk changes the size of a [MemDisk]. A [FileDisk] has the size of its file.
func (k *Kernel) ResizeDisk(dev blockdev.Number, size units.Bytes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	disk, ok := k.disks[dev].(interface{ Resize(units.Bytes) })
	if !ok {
		return fmt.Errorf("dmtest: resize disk %s: %w", dev, unix.EOPNOTSUPP)
	}
	disk.Resize(size)
	return nil
}

// DiskHeld reports whether the disk is in a table or held open.
func (k *Kernel) DiskHeld(dev blockdev.Number) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opens[dev] > 0
}
