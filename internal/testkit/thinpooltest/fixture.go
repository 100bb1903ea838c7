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

// Fixture is a host in memory whose files are real.
type Fixture struct {
	Root   string
	Kernel *dmtest.Kernel
	Loops  *looptest.Kernel
	// Space returns the space of the host's file system; nil reads the real one.
	Space func() loopback.Space

	steps steps
	store *dmtest.Store

	mu sync.Mutex
	// Damage changes the metadata blocks that are read from a path.
	Damage map[string]func(block uint64, b []byte)
	disks  map[string]disk.Device // block devices by path
	added  int
	// SysfsFault is the error that reading identities returns; nil reads them.
	SysfsFault error
	// AfterOpen, if set, is called after a disk or file was opened: another program may
	// change names then.
	AfterOpen func(path string)
}

// New returns a fixture with an empty root and the newest kernel.
func New(t TB) *Fixture { return NewOn(t, dmtest.Options{}) }

// NewOn returns a fixture with the kernel of those options.
func NewOn(t TB, kernel dmtest.Options) *Fixture {
	f := &Fixture{Root: t.TempDir() + "/pools", store: dmtest.NewStore(), disks: map[string]disk.Device{},
		Damage: map[string]func(uint64, []byte){}}
	kernel.Store = f.store
	f.Kernel = dmtest.New(kernel)
	f.Loops = looptest.New(looptest.Hooks{
		OnAttach: func(d loopback.Device, _ units.Bytes) {
			disk, err := dmtest.OpenFileDisk(d.File)
			if err == nil {
				err = f.Kernel.AddDisk(blockdev.Number(d.Number), disk)
			}
			if err != nil {
				t.Errorf("loop device on %s: %v", d.File, err)
			}
		},
		OnDetach: func(d loopback.Device) {
			if err := f.Kernel.RemoveDisk(blockdev.Number(d.Number)); err != nil {
				t.Errorf("detaching %s: %v", d.Path, err)
			}
		},
		Busy: func(d loopback.Device) bool { return f.Kernel.DiskHeld(blockdev.Number(d.Number)) },
	})
	t.Cleanup(f.Loops.PowerOff)
	return f
}

// Host returns the host for a pool. It does not wait for open devices: the tests that hold
// one open do not close it in the meantime.
func (f *Fixture) Host() thinpool.Host {
	host := thinpool.Host{Kernel: f.Kernel, Loops: f.Loops, Disks: disks{LocalDisks: thinpool.LocalDisks{}, fixture: f},
		BusyTimeout: -1}
	return Steps(host, f.steps.take)
}

// PowerOff cuts the power and boots: devices and loops are gone, files and disks stay.
func (f *Fixture) PowerOff(t *testing.T) {
	t.Helper()
	f.Restart()
	f.Kernel.PowerOff()
	f.Loops.PowerOff()
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, device := range f.disks {
		f.plug(t, path, blockdev.Number(device.Number))
	}
}

// disks are the host's own files, with block devices that are in memory.
type disks struct {
	thinpool.LocalDisks
	fixture *Fixture
}

func (d disks) Flush(ctx context.Context, node string) error {
	dev, err := d.behind(node)
	if err != nil {
		return err
	}
	return d.fixture.Kernel.Flush(dev)
}

// behind returns the device of a node.
func (d disks) behind(node string) (blockdev.Number, error) {
	dev, ok := d.fixture.Kernel.Behind(node)
	if !ok {
		return dev, fmt.Errorf("no device behind %s", node)
	}
	return dev, nil
}

func (d disks) Space(path string) (loopback.Space, error) {
	if d.fixture.Space != nil {
		return d.fixture.Space(), nil
	}
	return d.LocalDisks.Space(path)
}
