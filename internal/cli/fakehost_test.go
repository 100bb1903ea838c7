package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/disk"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/looptest"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/loopback"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// fakeHost is a host in memory: kernel, loop devices and block devices. Its directories and files
// are those of the test.
type fakeHost struct {
	kernel *dmtest.Kernel
	loops  *looptest.Kernel
	disks  *fakeDisks

	fixture *snapshotstest.Fixture // nil without real file trees
	files   *fakeFiles
}

func newFakeHost(options dmtest.Options) *fakeHost {
	options.Store = dmtest.NewStore()
	h := &fakeHost{kernel: dmtest.New(options)}
	h.disks = &fakeDisks{kernel: h.kernel, store: options.Store, devices: map[string]*fakeDevice{}}
	files := map[blockdev.Number]*dmtest.FileDisk{}
	h.loops = looptest.New(looptest.Hooks{
		OnAttach: func(d loopback.Device, _ units.Bytes) {
			disk, err := dmtest.OpenFileDisk(d.File)
			if err == nil {
				files[blockdev.Number(d.Number)] = disk
				err = h.kernel.AddDisk(blockdev.Number(d.Number), disk)
			}
			if err != nil {
				panic(err)
			}
		},
		OnDetach: func(d loopback.Device) {
			if err := h.kernel.RemoveDisk(blockdev.Number(d.Number)); err != nil {
				panic(err)
			}
			files[blockdev.Number(d.Number)].Close()
		},
		Busy: func(d loopback.Device) bool { return h.kernel.DiskHeld(blockdev.Number(d.Number)) },
	})
	return h
}

func (h *fakeHost) open(*slog.Logger) (thinpool.Host, io.Closer, error) {
	host := thinpool.Host{Kernel: h.kernel, Loops: h.loops, Disks: h.disks}
	if h.files != nil {
		host.Holders = snapshots.Holders(h.files)
	}
	if h.fixture != nil {
		host = h.fixture.Host()
	}
	host.Now = func() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) }
	return host, io.NopCloser(nil), nil
}

// fakeDevice is a block device whose content is a file of the test.
type fakeDevice struct {
	dev  blockdev.Number
	busy bool
}

// fakeDisks are the real directories and files, with fake block devices.
type fakeDisks struct {
	thinpool.LocalDisks
	kernel  *dmtest.Kernel
	store   *dmtest.Store
	mu      sync.Mutex
	devices map[string]*fakeDevice
	full    bool // the host's file system
	damage  func(block uint64, b []byte)
}

// add turns the file at path into a block device.
func (d *fakeDisks) add(path string, busy bool) error {
	disk, err := dmtest.OpenFileDisk(path)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := blockdev.Number{Major: 8, Minor: uint32(len(d.devices))}
	d.devices[path] = &fakeDevice{dev: dev, busy: busy}
	return d.kernel.AddDisk(dev, disk)
}

func (d *fakeDisks) Device(path string) (thinpool.BlockDevice, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	device := d.devices[path]
	if device == nil {
		return thinpool.BlockDevice{}, fmt.Errorf("%s is not a block device", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return thinpool.BlockDevice{}, err
	}
	return thinpool.BlockDevice{Dev: device.dev, Size: units.Bytes(info.Size()), Busy: device.busy, Identity: device.about(path).Identity}, nil
}

func (d *fakeDisks) Devices() ([]disk.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []disk.Device
	for path, device := range d.devices {
		all = append(all, device.about(path))
	}
	return all, nil
}

// about describes a device whose serial is the name of its file.
func (d *fakeDevice) about(path string) disk.Device {
	about := disk.Device{Number: blockdev.Number(d.dev), Path: path, Identity: disk.Identity{Kind: disk.Whole, Serial: filepath.Base(path)}}
	var info os.FileInfo
	if info, about.Err = os.Stat(path); about.Err == nil {
		about.Size = units.Bytes(info.Size())
	}
	return about
}

func (d *fakeDisks) Identity(path string) (disk.Identity, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if device := d.devices[path]; device != nil {
		return device.about(path).Identity, nil
	}
	return disk.Identity{}, fmt.Errorf("%s is not a block device", path)
}

func (d *fakeDisks) Open(path string) (thinpool.Disk, error) {
	held, err := d.LocalDisks.Open(path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if device := d.devices[path]; device != nil {
		held = thinpooltest.Numbered(held, device.about(path))
	}
	return held, nil
}

func (d *fakeDisks) Discard(ctx context.Context, node string, offset, length units.Bytes) error {
	info, err := d.kernel.Info(ctx, dm.ByName(dm.Name(filepath.Base(node))))
	if err != nil {
		return err
	}
	return d.kernel.Discard(info.Dev, offset, length)
}

func (d *fakeDisks) Flush(ctx context.Context, node string) error {
	info, err := d.kernel.Info(ctx, dm.ByName(dm.Name(filepath.Base(node))))
	if err != nil {
		return err
	}
	return d.kernel.Flush(info.Dev)
}

func (d *fakeDisks) Space(path string) (loopback.Space, error) {
	space := loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB}
	if d.full {
		space.Free, space.Available = 2*units.GiB, units.GiB
	}
	return space, nil
}

// Metadata builds the trees that the fake kernel does not write.
func (d *fakeDisks) Metadata(path string, _ bool) (thinpool.MetadataFile, error) {
	return thinpooltest.Metadata(d.store, path, d.damage)
}

// damageNodes damages all btree nodes that are read.
func (d *fakeDisks) damageNodes() {
	d.damage = func(_ uint64, b []byte) {
		if metadata.KindOf(b) == metadata.NodeBlock {
			b[100] ^= 1
		}
	}
}
