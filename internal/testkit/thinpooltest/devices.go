package thinpooltest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"thinctl/blockdev"
	"thinctl/internal/disk"
	"thinctl/internal/testkit/dmtest"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

// AddDevice makes a block device of that size, whose serial is its name, and
// returns its path. It is a real file, so that what is read and written by path
// is really there.
func (w *World) AddDevice(t *testing.T, name string, size units.Bytes) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(w.Root), name)
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	w.insert(t, path, disk.Identity{Kind: disk.Whole, Serial: name})
	return path
}

func (w *World) insert(t *testing.T, path string, identity disk.Identity) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.added++
	dev := blockdev.Number{Major: 8, Minor: uint32(16 * w.added)}
	w.disks[path] = disk.Device{Number: blockdev.Number(dev), Path: path, Identity: identity}
	w.plug(t, path, dev)
}

func (w *World) plug(t *testing.T, path string, dev blockdev.Number) {
	t.Helper()
	disk, err := dmtest.OpenFileDisk(path)
	if err == nil {
		err = w.Kernel.AddDisk(dev, disk)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// SetIdentity gives a block device another identity.
func (w *World) SetIdentity(path string, identity disk.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	device := w.disks[path]
	device.Identity = identity
	w.disks[path] = device
}

// CloneDevice adds a block device with the contents of another.
func (w *World) CloneDevice(t *testing.T, from, name string, identity disk.Identity) string {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(w.Root), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	w.insert(t, path, identity)
	return path
}

// Rearrange gives block devices other names, as a boot may do. A device whose
// new name is "" is detached. The power has to be off: call PowerOff after it.
func (w *World) Rearrange(t *testing.T, names map[string]string) {
	t.Helper()
	w.Restart()
	w.Kernel.PowerOff()
	w.Loops.PowerOff()
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := map[string]disk.Device{}
	for from, to := range names {
		device := w.disks[from]
		delete(w.disks, from)
		if err := os.Rename(from, from+".moving"); err != nil {
			t.Fatal(err)
		}
		if to != "" {
			moved[to] = device
		}
	}
	for from, to := range names {
		if to == "" {
			continue
		}
		if err := os.Rename(from+".moving", to); err != nil {
			t.Fatal(err)
		}
		device := moved[to]
		device.Path = to
		w.disks[to] = device
	}
}

func (d disks) Device(path string) (thinpool.BlockDevice, error) {
	device, ok := d.world.device(path)
	if !ok {
		return d.LocalDisks.Device(path)
	}
	dev := blockdev.Number(device.Number)
	return thinpool.BlockDevice{Dev: dev, Size: device.Size, Busy: d.world.Kernel.DiskHeld(dev), Identity: device.Identity}, device.Err
}

// device describes a block device as it is now.
func (w *World) device(path string) (disk.Device, bool) {
	w.mu.Lock()
	device, ok := w.disks[path]
	w.mu.Unlock()
	if !ok {
		return device, false
	}
	usage, err := loopback.Usage(path)
	device.Size, device.Err = usage.Apparent, err
	return device, true
}

func (d disks) Devices() ([]disk.Device, error) {
	if err := d.world.SysfsFault; err != nil {
		return nil, err
	}
	d.world.mu.Lock()
	var paths []string
	for path := range d.world.disks {
		paths = append(paths, path)
	}
	d.world.mu.Unlock()
	var all []disk.Device
	for _, path := range paths {
		if device, ok := d.world.device(path); ok {
			all = append(all, device)
		}
	}
	return all, nil
}

func (d disks) Identity(path string) (disk.Identity, error) {
	device, ok := d.world.device(path)
	if !ok {
		return disk.Identity{}, fmt.Errorf("%s is not a block device", path)
	}
	return device.Identity, d.world.SysfsFault
}

func (d disks) Open(path string) (thinpool.Disk, error) {
	held, err := d.LocalDisks.Open(path)
	if err != nil {
		return nil, err
	}
	if device, ok := d.world.device(path); ok {
		held = Numbered(held, device)
	}
	if d.world.AfterOpen != nil {
		d.world.AfterOpen(path)
	}
	return held, nil
}

// Numbered makes a block device of an open file.
func Numbered(held thinpool.Disk, about disk.Device) thinpool.Disk { return numbered{held, about} }

type numbered struct {
	thinpool.Disk
	about disk.Device
}

func (n numbered) About() disk.Device { return n.about }

// stepDisk makes writing to an open disk a step.
type stepDisk struct {
	thinpool.Disk
	take taker
}

var _ io.ReaderAt = stepDisk{}

func (d stepDisk) Write(b []byte, offset units.Bytes) error {
	return d.take(fmt.Sprintf("write %s at %d", d.About().Path, uint64(offset)), func() error { return d.Disk.Write(b, offset) })
}

func (d stepDisks) Open(path string) (thinpool.Disk, error) {
	held, err := d.Disks.Open(path)
	if err != nil {
		return nil, err
	}
	return stepDisk{held, d.take}, nil
}

func (d disks) Discard(ctx context.Context, node string, offset, length units.Bytes) error {
	dev, err := d.behind(node)
	if err != nil {
		return err
	}
	return d.world.Kernel.Discard(dev, offset, length)
}
