//go:build kernel

package integration

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

// blockDevice returns a blank loop device in place of a disk.
func blockDevice(t *testing.T, size units.Bytes) loopback.Device {
	t.Helper()
	loops := loopback.New(loopback.Options{})
	path := filepath.Join(t.TempDir(), "disk")
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	device, err := loops.Attach(testContext(t), path, loopback.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := loops.Detach(context.Background(), device); err != nil {
			t.Error(err)
		}
		loops.Close()
	})
	return device
}

// linear is a device mapper device over part of another device, which can grow.
type linear struct {
	kernel dm.Kernel
	name   dm.Name
	below  blockdev.Number
}

func newLinear(t *testing.T, name dm.Name, below loopback.Device, size units.Bytes) *linear {
	t.Helper()
	l := &linear{kernel: realHost(t).Kernel, name: name, below: blockdev.Number(below.Number)}
	if _, err := l.kernel.Create(t.Context(), name, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := l.kernel.Remove(context.Background(), dm.ByName(name), dm.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	l.resize(t, size)
	return l
}

func (l *linear) resize(t *testing.T, size units.Bytes) {
	t.Helper()
	table := []dm.Target{dm.Linear{Length: size.Sectors(), Dev: l.below}}
	if err := l.kernel.Load(t.Context(), dm.ByName(l.name), table, dm.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.kernel.Resume(t.Context(), dm.ByName(l.name), dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
}

// beside returns how much data fits on a device beside the pool's mark.
func beside(device units.Bytes) units.Bytes { return device - 64*units.KiB }

func TestPoolOnDevices(t *testing.T) {
	disk := blockDevice(t, 256*units.MiB)
	data := newLinear(t, "it-data", disk, 64*units.MiB)
	meta := blockDevice(t, 8*units.MiB)
	options := thinpool.CreateOptions{DataDevice: data.name.Node(), MetadataDevice: meta.Path, BaseSize: 256 * units.MiB}
	pool := newPool(t, options)
	if s := statusOf(t, pool); s.Data.Total != beside(64*units.MiB) || s.Metadata.Total != 8*units.MiB ||
		s.Data.File != nil || s.Host != nil {
		t.Errorf("status of a pool on devices: got %+v", s)
	}
	base := newLoad(t, pool, "base")
	if err := base.fill(span(0, 512, 1), 1); err != nil {
		t.Fatal(err)
	}

	if _, err := pool.Extend(testContext(t), thinpool.ExtendOptions{Data: 128 * units.MiB}); err == nil {
		t.Error("extended beyond the device")
	}
	data.resize(t, 128*units.MiB)
	extension, err := pool.Extend(testContext(t), thinpool.ExtendOptions{ToDevice: true})
	if err != nil || extension.DataTo != beside(128*units.MiB) {
		t.Fatalf("extend to the grown device: got %+v, %v", extension, err)
	}
	if s := statusOf(t, pool); s.Data.Total != beside(128*units.MiB) || s.Kernel.TotalData != 2047 {
		t.Errorf("after the extension: got %s, %d blocks", s.Data.Total, s.Kernel.TotalData)
	}
	if err := base.fill(span(1024, 1536, 1), 2); err != nil {
		t.Fatal(err)
	}

	// A pool is not started on a device that has become smaller.
	ctx := testContext(t)
	if err := pool.Deactivate(ctx); err != nil {
		t.Fatal(err)
	}
	data.resize(t, 64*units.MiB)
	if err := pool.Activate(ctx); err == nil {
		t.Error("activated on a device that has shrunk")
	} else {
		t.Logf("on a shrunk device: %v", err)
	}
	data.resize(t, 128*units.MiB)
	if err := pool.Activate(ctx); err != nil {
		t.Fatal(err)
	}
	loadOn(t, pool, "base")
	base.intact(t, 0)
	noFindings(t, pool)
}

// The rest of a destroyed pool on a device belongs to no pool, but is only overwritten if
// that is asked for.
func TestDevicesOfADestroyedPool(t *testing.T) {
	data, meta := blockDevice(t, 32*units.MiB), blockDevice(t, 4*units.MiB)
	options := thinpool.CreateOptions{DataDevice: data.Path, MetadataDevice: meta.Path, BaseSize: 64 * units.MiB}
	host, ctx, root := realHost(t), testContext(t), t.TempDir()
	for _, force := range []bool{false, true} {
		options.Force = force
		pool, err := thinpool.Create(ctx, host, root, "itagain", options)
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		options.Force = false
		if _, err := thinpool.Create(ctx, host, root, "itagain", options); !errors.Is(err, thinpool.ErrHoldsData) {
			t.Errorf("taking the devices of a destroyed pool unasked: %v", err)
		}
	}
}
