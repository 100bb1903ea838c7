package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"thinctl/dm"
	"thinctl/dm/dmtest"
	"thinctl/loopback"
	"thinctl/loopback/looptest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// fakeHost is a machine in memory: kernel, loop devices and block devices.
// Folders and files are real ones of the test.
type fakeHost struct {
	kernel *recordingKernel
	loops  *looptest.Kernel
	disks  *fakeDisks
	tools  *fakeTools
}

func newFakeHost(options dmtest.Options) *fakeHost {
	h := &fakeHost{kernel: &recordingKernel{Kernel: dmtest.New(options), thins: map[dm.UUID]map[uint32]bool{}}, tools: &fakeTools{}}
	h.disks = &fakeDisks{kernel: h.kernel, devices: map[string]*fakeDevice{}, stamps: map[uint64][16]byte{}}
	files := map[dm.Dev]*dmtest.FileDisk{}
	h.loops = looptest.New(looptest.Hooks{
		OnAttach: func(d loopback.Device, _ units.Bytes) {
			disk, err := dmtest.OpenFileDisk(d.File)
			if err == nil {
				files[dm.Dev(d.Number)] = disk
				err = h.kernel.AddDisk(dm.Dev(d.Number), disk)
			}
			if err != nil {
				panic(err)
			}
		},
		OnDetach: func(d loopback.Device) {
			if err := h.kernel.RemoveDisk(dm.Dev(d.Number)); err != nil {
				panic(err)
			}
			files[dm.Dev(d.Number)].Close()
		},
		Busy: func(d loopback.Device) bool { return h.kernel.DiskHeld(dm.Dev(d.Number)) },
	})
	return h
}

func (h *fakeHost) open(*slog.Logger) (thinpool.Host, io.Closer, error) {
	return thinpool.Host{Kernel: h.kernel, Loops: h.loops, Disks: h.disks, Tools: h.tools,
		Now: func() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) }}, io.NopCloser(nil), nil
}

// recordingKernel notes which thin devices its pools have, since the fake's
// metadata cannot be read from the disk.
type recordingKernel struct {
	*dmtest.Kernel
	mu    sync.Mutex
	thins map[dm.UUID]map[uint32]bool
}

func (k *recordingKernel) Message(ctx context.Context, ref dm.Ref, text string) (string, error) {
	answer, err := k.Kernel.Message(ctx, ref, text)
	words := strings.Fields(text)
	if err != nil || len(words) < 2 {
		return answer, err
	}
	id, _ := strconv.ParseUint(words[1], 10, 32)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.thins[ref.UUID()] == nil {
		k.thins[ref.UUID()] = map[uint32]bool{}
	}
	switch words[0] {
	case "create_thin", "create_snap":
		k.thins[ref.UUID()][uint32(id)] = true
	case "delete":
		delete(k.thins[ref.UUID()], uint32(id))
	}
	return answer, nil
}

// fakeDevice is a block device whose content is a file of the test.
type fakeDevice struct {
	dev  dm.Dev
	busy bool
}

// fakeDisks are the real folders and files, with block devices made up.
type fakeDisks struct {
	thinpool.LocalDisks
	kernel  *recordingKernel
	mu      sync.Mutex
	devices map[string]*fakeDevice
	// stamps are the pools' uuids by inode: the fake kernel keeps a token of its
	// own where a superblock has its uuid.
	stamps map[uint64][16]byte
	full   bool // the host's file system
}

// add makes the file at path a block device.
func (d *fakeDisks) add(path string, busy bool) error {
	disk, err := dmtest.OpenFileDisk(path)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dev := dm.Dev{Major: 8, Minor: uint32(len(d.devices))}
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
	return thinpool.BlockDevice{Dev: device.dev, Size: units.Bytes(info.Size()), Busy: device.busy}, nil
}

func (d *fakeDisks) Discard(ctx context.Context, node string, offset, length units.Bytes) error {
	info, err := d.kernel.Info(ctx, dm.ByName(dm.Name(filepath.Base(node))))
	if err != nil {
		return err
	}
	return d.kernel.Discard(info.Dev, offset, length)
}

func (d *fakeDisks) Space(path string) (loopback.Space, error) {
	space := loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB}
	if d.full {
		space.Free, space.Available = 2*units.GiB, units.GiB
	}
	return space, nil
}

func (d *fakeDisks) Superblock(path string) (metadata.Superblock, error) {
	super, err := d.LocalDisks.Superblock(path)
	if err != nil {
		return super, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	super.UUID = d.stamps[inode(path)]
	return super, nil
}

func (d *fakeDisks) Stamp(path string, uuid [16]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stamps[inode(path)] = uuid
	return nil
}

func (d *fakeDisks) ThinDevices(path string, _ uint64) ([]metadata.Device, error) {
	super, err := d.Superblock(path)
	if err != nil {
		return nil, err
	}
	d.kernel.mu.Lock()
	defer d.kernel.mu.Unlock()
	var devices []metadata.Device
	for id := range d.kernel.thins[dm.UUID("THINCTL-"+hex.EncodeToString(super.UUID[:])+"-pool")] {
		devices = append(devices, metadata.Device{ID: id})
	}
	return devices, nil
}

func inode(path string) uint64 {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0
	}
	return st.Ino
}

// fakeTools find what a test wants them to.
type fakeTools struct{ problems []string }

func (t *fakeTools) Check(context.Context, string) ([]string, error) { return t.problems, nil }

func (t *fakeTools) ClearNeedsCheck(context.Context, string) error { return nil }

func (t *fakeTools) Repair(context.Context, string, string) error {
	return errors.New("the fake repairs nothing")
}
