package snapshotstest

import (
	"context"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/internal/layers"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/snapshots"
	"thinctl/thinpool"
)

// Fixture is a host in memory with file systems on its volumes.
type Fixture struct {
	*thinpooltest.Fixture
	Files *Files
}

// New returns a fixture with an empty root.
func New(t thinpooltest.TB) *Fixture {
	f := &Fixture{Fixture: thinpooltest.New(t)}
	f.Files = newFiles(t, f.Kernel, f.Step)
	return f
}

// NewWithPool returns a fixture with one pool, and the context of its test.
func NewWithPool(t *testing.T, name string, o thinpool.CreateOptions) (*Fixture, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	f := New(t)
	if _, err := thinpool.Create(ctx, f.Host(), f.Root, name, o); err != nil {
		t.Fatal(err)
	}
	return f, ctx
}

// Host returns the host for a pool: suspending a device freezes the file system on it.
func (f *Fixture) Host() thinpool.Host {
	host := f.Fixture.Host()
	host.Kernel = freezingKernel{host.Kernel, f}
	host.Holders = snapshots.Holders(f.Files)
	return host
}

// Open opens a pool's store as another process does.
func (f *Fixture) Open(ctx context.Context, pool string, o layers.Options) (*layers.Store, error) {
	p, err := thinpool.Open(ctx, f.Host(), f.Root, pool)
	if err != nil {
		return nil, err
	}
	return layers.New(p, f.Files, o), nil
}

// PowerOff cuts the power and boots.
func (f *Fixture) PowerOff(t *testing.T) {
	t.Helper()
	f.Fixture.PowerOff(t)
	if err := f.Files.powerOff(); err != nil {
		t.Fatal(err)
	}
}

type freezingKernel struct {
	dm.Kernel
	fixture *Fixture
}

func (k freezingKernel) Suspend(ctx context.Context, ref dm.Ref, o dm.SuspendOptions) error {
	err := k.fixture.Step("freeze "+ref.String(), func() error { return k.fixture.Files.saveDevice(ctx, ref) })
	if err != nil {
		return err
	}
	return k.Kernel.Suspend(ctx, ref, o)
}
