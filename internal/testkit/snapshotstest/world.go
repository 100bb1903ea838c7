package snapshotstest

import (
	"context"
	"testing"

	"thinctl/dm"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// World is a host in memory with file systems on its volumes.
type World struct {
	*thinpooltest.World
	Files *Files
}

// New returns a world with an empty root.
func New(t *testing.T) *World {
	w := &World{World: thinpooltest.New(t)}
	w.Files = newFiles(t, w.Kernel, w.Step)
	return w
}

// Host returns the world as a pool sees it: to suspend a device freezes the file
// system on it.
func (w *World) Host() thinpool.Host {
	host := w.World.Host()
	host.Kernel = freezingKernel{host.Kernel, w}
	host.Holders = snapshots.Holders(w.Files)
	return host
}

// Open opens a pool's store as a process of its own would.
func (w *World) Open(ctx context.Context, pool string, o snapshots.Options) (*snapshots.Store, error) {
	p, err := thinpool.Open(ctx, w.Host(), w.Root, pool)
	if err != nil {
		return nil, err
	}
	return snapshots.New(p, w.Files, o), nil
}

// PowerOff is a power cut and the next boot.
func (w *World) PowerOff(t *testing.T) {
	t.Helper()
	w.World.PowerOff(t)
	if err := w.Files.powerOff(); err != nil {
		t.Fatal(err)
	}
}

type freezingKernel struct {
	dm.Kernel
	world *World
}

func (k freezingKernel) Suspend(ctx context.Context, ref dm.Ref, o dm.SuspendOptions) error {
	err := k.world.Step("freeze "+ref.String(), func() error { return k.world.Files.saveDevice(ctx, ref) })
	if err != nil {
		return err
	}
	return k.Kernel.Suspend(ctx, ref, o)
}
