package thinpooltest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"thinctl/blockdev"
	"thinctl/internal/disk"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/looptest"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

// World is a host in memory whose files are real.
type World struct {
	Root   string
	Kernel *dmtest.Kernel
	Loops  *looptest.Kernel
	// Space is what the host's file system says; nil asks the real one.
	Space func() loopback.Space

	steps steps
	store *dmtest.Store

	mu sync.Mutex
	// Damage changes the metadata blocks that are read from a path.
	Damage map[string]func(block uint64, b []byte)
	disks  map[string]disk.Device // block devices by path
	added  int
	// SysfsFault is what reading identities fails with; nil reads them.
	SysfsFault error
	// AfterOpen, where set, is called when a disk or file was opened: another
	// program may change names then.
	AfterOpen func(path string)
}

// New returns a world with an empty root and the newest kernel.
func New(t *testing.T) *World { return NewOn(t, dmtest.Options{}) }

// NewOn returns a world with the kernel of those options.
func NewOn(t *testing.T, kernel dmtest.Options) *World {
	w := &World{Root: t.TempDir() + "/pools", store: dmtest.NewStore(), disks: map[string]disk.Device{}, Damage: map[string]func(uint64, []byte){}}
	kernel.Store = w.store
	w.Kernel = dmtest.New(kernel)
	w.Loops = looptest.New(looptest.Hooks{
		OnAttach: func(d loopback.Device, _ units.Bytes) {
			disk, err := dmtest.OpenFileDisk(d.File)
			if err == nil {
				err = w.Kernel.AddDisk(blockdev.Number(d.Number), disk)
			}
			if err != nil {
				t.Errorf("loop device on %s: %v", d.File, err)
			}
		},
		OnDetach: func(d loopback.Device) {
			if err := w.Kernel.RemoveDisk(blockdev.Number(d.Number)); err != nil {
				t.Errorf("detaching %s: %v", d.Path, err)
			}
		},
		Busy: func(d loopback.Device) bool { return w.Kernel.DiskHeld(blockdev.Number(d.Number)) },
	})
	t.Cleanup(w.Loops.PowerOff)
	return w
}

// Host returns the world as a pool sees it. It does not wait for devices that are
// open: whoever holds one here does not close it in the meantime.
func (w *World) Host() thinpool.Host {
	host := thinpool.Host{Kernel: w.Kernel, Loops: w.Loops, Disks: disks{LocalDisks: thinpool.LocalDisks{}, world: w}, BusyTimeout: -1}
	return Steps(host, w.steps.take)
}

// PowerOff is a power cut and the next boot: devices and loops are gone, files
// and disks stay.
func (w *World) PowerOff(t *testing.T) {
	t.Helper()
	w.Restart()
	w.Kernel.PowerOff()
	w.Loops.PowerOff()
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, device := range w.disks {
		w.plug(t, path, blockdev.Number(device.Number))
	}
}

// disks are the host's own files, with block devices that are in memory.
type disks struct {
	thinpool.LocalDisks
	world *World
}

func (d disks) Flush(ctx context.Context, node string) error {
	dev, err := d.behind(node)
	if err != nil {
		return err
	}
	return d.world.Kernel.Flush(dev)
}

// behind returns the device of a node.
func (d disks) behind(node string) (blockdev.Number, error) {
	dev, ok := d.world.Kernel.Behind(node)
	if !ok {
		return dev, fmt.Errorf("no device behind %s", node)
	}
	return dev, nil
}

func (d disks) Space(path string) (loopback.Space, error) {
	if d.world.Space != nil {
		return d.world.Space(), nil
	}
	return d.LocalDisks.Space(path)
}
