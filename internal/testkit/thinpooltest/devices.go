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

// AddDevice makes a block device of that size whose serial is its name, and returns its
// path. It is a real file, so that reads and writes by path work.
func (f *Fixture) AddDevice(t *testing.T, name string, size units.Bytes) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(f.Root), name)
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	f.insert(t, path, disk.Identity{Kind: disk.Whole, Serial: name})
	return path
}

func (f *Fixture) insert(t *testing.T, path string, identity disk.Identity) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.added++
	dev := blockdev.Number{Major: 8, Minor: uint32(16 * f.added)}
	f.disks[path] = disk.Device{Number: blockdev.Number(dev), Path: path, Identity: identity}
	f.plug(t, path, dev)
}

func (f *Fixture) plug(t *testing.T, path string, dev blockdev.Number) {
	t.Helper()
	disk, err := dmtest.OpenFileDisk(path)
	if err == nil {
		err = f.Kernel.AddDisk(dev, disk)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// SetIdentity gives a block device another identity.
func (f *Fixture) SetIdentity(path string, identity disk.Identity) {
	f.mu.Lock()
	defer f.mu.Unlock()
	device := f.disks[path]
	device.Identity = identity
	f.disks[path] = device
}

// CloneDevice adds a block device with the contents of another.
func (f *Fixture) CloneDevice(t *testing.T, from, name string, identity disk.Identity) string {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(f.Root), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f.insert(t, path, identity)
	return path
}

// Rearrange gives block devices other names, as a boot may do. A device whose new name is
// "" is detached. The power must be off: call PowerOff after it.
func (f *Fixture) Rearrange(t *testing.T, names map[string]string) {
	t.Helper()
	f.Restart()
	f.Kernel.PowerOff()
	f.Loops.PowerOff()
	f.mu.Lock()
	defer f.mu.Unlock()
	moved := map[string]disk.Device{}
	for from, to := range names {
		device := f.disks[from]
		delete(f.disks, from)
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
		f.disks[to] = device
	}
}

func (d disks) Device(path string) (thinpool.BlockDevice, error) {
	device, ok := d.fixture.device(path)
	if !ok {
		return d.LocalDisks.Device(path)
	}
	dev := blockdev.Number(device.Number)
	return thinpool.BlockDevice{Dev: dev, Size: device.Size, Busy: d.fixture.Kernel.DiskHeld(dev),
		Identity: device.Identity}, device.Err
}

// device describes the present block device.
func (f *Fixture) device(path string) (disk.Device, bool) {
	f.mu.Lock()
	device, ok := f.disks[path]
	f.mu.Unlock()
	if !ok {
		return device, false
	}
	usage, err := loopback.Usage(path)
	device.Size, device.Err = usage.Apparent, err
	return device, true
}

func (d disks) Devices() ([]disk.Device, error) {
	if err := d.fixture.SysfsFault; err != nil {
		return nil, err
	}
	d.fixture.mu.Lock()
	var paths []string
	for path := range d.fixture.disks {
		paths = append(paths, path)
	}
	d.fixture.mu.Unlock()
	var all []disk.Device
	for _, path := range paths {
		if device, ok := d.fixture.device(path); ok {
			all = append(all, device)
		}
	}
	return all, nil
}

func (d disks) Identity(path string) (disk.Identity, error) {
	device, ok := d.fixture.device(path)
	if !ok {
		return disk.Identity{}, fmt.Errorf("%s is not a block device", path)
	}
	return device.Identity, d.fixture.SysfsFault
}

func (d disks) Open(path string) (thinpool.Disk, error) {
	held, err := d.LocalDisks.Open(path)
	if err != nil {
		return nil, err
	}
	if device, ok := d.fixture.device(path); ok {
		held = Numbered(held, device)
	}
	if d.fixture.AfterOpen != nil {
		d.fixture.AfterOpen(path)
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

// stepDisk makes each write to an open disk a step.
type stepDisk struct {
	thinpool.Disk
	take taker
}

var _ io.ReaderAt = stepDisk{}

func (d stepDisk) Write(b []byte, offset units.Bytes) error {
	return d.take(fmt.Sprintf("write %s at %d", d.About().Path, uint64(offset)),
		func() error { return d.Disk.Write(b, offset) })
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
	return d.fixture.Kernel.Discard(dev, offset, length)
}
