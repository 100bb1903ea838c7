package thinpool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// reserved returns a pool with a reserve, and its fixture.
func reserved(t *testing.T, change func(*thinpool.CreateOptions)) (*thinpooltest.Fixture, *thinpool.Pool) {
	t.Helper()
	f := thinpooltest.New(t)
	options := thinpooltest.SmallPool()
	options.DataSize, options.BaseSize = 16*units.MiB, 64*units.MiB
	options.Reserve = &store.Reserve{Data: 10, Metadata: 10, Host: 5}
	if change != nil {
		change(&options)
	}
	f.Space = func() loopback.Space { return loopback.Space{Total: 100 * units.GiB, Available: 50 * units.GiB} }
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "full", options)
	check(t, err)
	return f, pool
}

// filled makes an active volume and writes blocks to it until one fails.
func filled(t *testing.T, f *thinpooltest.Fixture, pool *thinpool.Pool, name string, blocks uint64) (thinpool.Volume, error) {
	t.Helper()
	_, err := pool.CreateVolume(t.Context(), name, thinpool.VolumeOptions{})
	check(t, err)
	volume, err := pool.ActivateVolume(t.Context(), name)
	check(t, err)
	for block := range blocks {
		if err := f.Kernel.WriteStamp(volume.Dev, block, block+1); err != nil {
			return volume, err
		}
	}
	return volume, nil
}

func stillThere(t *testing.T, f *thinpooltest.Fixture, volume thinpool.Volume, blocks uint64) {
	t.Helper()
	for block := range blocks {
		if got, err := f.Kernel.ReadStamp(volume.Dev, block); err != nil || got != block+1 {
			t.Fatalf("block %d of %s: got value %d, %v", block, volume.Name, got, err)
		}
	}
}

// nothingNew checks that new volumes and snapshots are refused, and that the refusal leaves
// nothing.
func nothingNew(t *testing.T, pool *thinpool.Pool, origin string, cure thinpool.CureCode, texts ...string) {
	t.Helper()
	_, created := pool.CreateVolume(t.Context(), "late", thinpool.VolumeOptions{})
	_, taken := pool.Snapshot(t.Context(), origin, "late", thinpool.SnapshotOptions{})
	for _, err := range []error{created, taken} {
		if !errors.Is(err, thinpool.ErrReserve) {
			t.Errorf("got %v, want %v", err, thinpool.ErrReserve)
			continue
		}
		if cure != "" {
			wantCure(t, err, cure)
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("got error %v, want it to contain %q", err, text)
			}
		}
	}
	if _, err := pool.VolumeStatus(t.Context(), "late"); !errors.Is(err, fault.NotFound) {
		t.Errorf("the refused volume: %v", err)
	}
}

func removed(t *testing.T, pool *thinpool.Pool, name string) {
	t.Helper()
	removal, err := pool.RemoveVolume(t.Context(), name, thinpool.RemoveOptions{})
	if err != nil || !removal.Reaped {
		t.Fatalf("removing %s: reaped %v, %v", name, removal.Reaped, err)
	}
}

func modeOf(t *testing.T, pool *thinpool.Pool) dm.Mode {
	t.Helper()
	status, err := pool.Status(t.Context())
	check(t, err)
	return status.Kernel.Mode
}

func TestDataFull(t *testing.T) {
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprintf("error if full %v", failing), func(t *testing.T) {
			want := error(dmtest.ErrWouldBlock)
			if failing {
				want = unix.ENOSPC
			}
			f, pool := reserved(t, func(o *thinpool.CreateOptions) { o.ErrorIfFull = failing })
			doomed, err := filled(t, f, pool, "doomed", 100)
			check(t, err)
			base, err := filled(t, f, pool, "base", 200)
			if !errors.Is(err, want) || modeOf(t, pool) != dm.ModeOutOfDataSpace {
				t.Fatalf("got %v in mode %s, want %v in mode %s", err, modeOf(t, pool), want, dm.ModeOutOfDataSpace)
			}
			nothingNew(t, pool, "base", thinpool.CureExtendData, "0B of 16M data free", "reserve is 10%")
			stillThere(t, f, base, 156)
			stillThere(t, f, doomed, 100)
			removed(t, pool, "doomed")
			if modeOf(t, pool) != dm.ModeWrite {
				t.Errorf("mode %s after a removal", modeOf(t, pool))
			}
			check(t, f.Kernel.WriteStamp(base.Dev, 156, 157))
			_, err = pool.Extend(t.Context(), thinpool.ExtendOptions{Data: 32 * units.MiB})
			check(t, err)
			_, err = pool.Snapshot(t.Context(), "base", "late", thinpool.SnapshotOptions{})
			check(t, err)
			stillThere(t, f, base, 157)
		})
	}
}

// TestFullPoolExtends checks that a full pool can be extended, and that blocked writes
// continue then.
func TestFullPoolExtends(t *testing.T) {
	f, pool := reserved(t, nil)
	base, err := filled(t, f, pool, "base", 300)
	if !errors.Is(err, dmtest.ErrWouldBlock) {
		t.Fatal(err)
	}
	_, err = pool.Extend(t.Context(), thinpool.ExtendOptions{Data: 32 * units.MiB})
	check(t, err)
	if modeOf(t, pool) != dm.ModeWrite {
		t.Errorf("mode %s", modeOf(t, pool))
	}
	check(t, f.Kernel.WriteStamp(base.Dev, 256, 257))
	stillThere(t, f, base, 257)
}

func TestMetadataReserve(t *testing.T) {
	_, pool := reserved(t, func(o *thinpool.CreateOptions) {
		o.MetadataSize = 2 * units.MiB
		o.Reserve = &store.Reserve{Metadata: 60}
	})
	var err error
	made := 0
	for ; err == nil && made < 1000; made++ {
		_, err = pool.CreateVolume(t.Context(), fmt.Sprint("v", made), thinpool.VolumeOptions{})
	}
	if !errors.Is(err, thinpool.ErrReserve) || made < 2 {
		t.Fatalf("got %d volumes, then %v", made, err)
	}
	nothingNew(t, pool, "v0", thinpool.CureExtendMetadata, "metadata free", "reserve is 60%")
	removed(t, pool, "v0")
	_, err = pool.Extend(t.Context(), thinpool.ExtendOptions{Metadata: 8 * units.MiB})
	check(t, err)
	_, err = pool.CreateVolume(t.Context(), "late", thinpool.VolumeOptions{})
	check(t, err)
}

// TestNeedsCheck checks that a pool with needs_check refuses changes, and that its data are
// intact after the repair.
func TestNeedsCheck(t *testing.T) {
	f, pool := reserved(t, nil)
	base, err := filled(t, f, pool, "base", 10)
	check(t, err)
	status, err := pool.Status(t.Context())
	check(t, err)
	_, _, err = f.Kernel.Status(t.Context(), dm.ByDev(status.Dev), dm.StatusOptions{}) // a flush
	check(t, err)
	check(t, f.Kernel.FailMetadata(status.Dev))
	for what, try := range map[string]func() error{
		"create": func() error { _, err := pool.CreateVolume(t.Context(), "late", thinpool.VolumeOptions{}); return err },
		"snapshot": func() error {
			_, err := pool.Snapshot(t.Context(), "base", "late", thinpool.SnapshotOptions{})
			return err
		},
		"remove": func() error { _, err := pool.RemoveVolume(t.Context(), "base", thinpool.RemoveOptions{}); return err },
		"extend": func() error { _, err := pool.Extend(t.Context(), thinpool.ExtendOptions{Data: units.GiB}); return err },
	} {
		err := try()
		wantCure(t, err, thinpool.CureNeedsCheck)
		if !errors.Is(err, thinpool.ErrNeedsCheck) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	stillThere(t, f, base, 10)
	check(t, pool.Deactivate(t.Context()))
	if err := pool.Activate(t.Context()); !errors.Is(err, thinpool.ErrNeedsCheck) {
		t.Errorf("activated: %v", err)
	}
}

func TestHostFull(t *testing.T) {
	f, pool := reserved(t, nil)
	base, err := filled(t, f, pool, "base", 10)
	check(t, err)
	_, err = filled(t, f, pool, "doomed", 10)
	check(t, err)
	f.Space = func() loopback.Space { return loopback.Space{Total: 100 * units.GiB, Available: 4 * units.GiB} }
	nothingNew(t, pool, "base", "", "4G of 100G on the host's file system free", "reserve is 5%", "free some space on the file system of "+pool.Dir(), "remove volumes")
	status, err := pool.Status(t.Context())
	if err != nil || status.Host == nil || status.Host.Available != 4*units.GiB {
		t.Errorf("got host space %+v, %v", status.Host, err)
	}
	removed(t, pool, "doomed")
	stillThere(t, f, base, 10)
}
