package thinpool_test

import (
	"errors"
	"testing"

	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

func TestKeptVolumesAreRefused(t *testing.T) {
	f := thinpooltest.New(t)
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "p", thinpooltest.SmallPool())
	if err != nil {
		t.Fatal(err)
	}
	for name, what := range map[string]string{"own": "", "kept": "layer"} {
		if _, err := pool.CreateVolume(t.Context(), name, thinpool.VolumeOptions{Keep: thinpool.Keep{For: what}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, what, purpose string }{
		{"kept", "", "layer"},
		{"kept", "container", "layer"},
		{"own", "layer", ""},
	} {
		_, err := pool.RemoveVolume(t.Context(), test.name, thinpool.RemoveOptions{For: test.what})
		var kept *thinpool.KeptError
		want := thinpool.KeptError{Op: "remove", Pool: "p", Volume: test.name, For: test.purpose}
		if !errors.As(err, &kept) || !errors.Is(err, fault.Invalid) || *kept != want {
			t.Errorf("remove %s, kept for %q: got %v, want %+v", test.name, test.what, err, want)
		}
		if _, err := pool.RenameVolume(t.Context(), test.name, "other", thinpool.RenameOptions{Was: test.what}); !errors.Is(err, fault.Invalid) {
			t.Errorf("renaming %s for %q: %v", test.name, test.what, err)
		}
	}
	if _, err := pool.ResizeVolume(t.Context(), "kept", 32*units.MiB); !errors.Is(err, fault.Invalid) {
		t.Errorf("resizing a kept volume: %v", err)
	}
	// One refused volume keeps the other from being removed.
	_, err = pool.RemoveVolumes(t.Context(), []string{"own", "kept"}, thinpool.RemoveOptions{}, nil)
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("removing both: %v", err)
	}
	if volumes, err := pool.Volumes(t.Context()); err != nil || len(volumes) != 2 {
		t.Errorf("volumes: %v, %v", volumes, err)
	}
	if _, err := pool.RenameVolume(t.Context(), "own", "kept", thinpool.RenameOptions{}); !errors.Is(err, fault.Exists) {
		t.Errorf("renaming to a name that is taken: %v", err)
	}
}

func TestReadOnlyVolume(t *testing.T) {
	f := thinpooltest.New(t)
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "p", thinpooltest.SmallPool())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.CreateVolume(t.Context(), "work", thinpool.VolumeOptions{}); err != nil {
		t.Fatal(err)
	}
	work, err := pool.ActivateVolume(t.Context(), "work")
	if err != nil {
		t.Fatal(err)
	}
	blocks := f.Blocks()
	if err := blocks.Write(work, 3, 7); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.RenameVolume(t.Context(), "work", "layer", thinpool.RenameOptions{Keep: thinpool.Keep{For: "layer", ReadOnly: true}}); err != nil {
		t.Fatal(err)
	}
	f.PowerOff(t) // the rename makes earlier writes durable
	if err := pool.Activate(t.Context()); err != nil {
		t.Fatal(err)
	}
	layer, err := pool.ActivateVolume(t.Context(), "layer")
	if err != nil {
		t.Fatal(err)
	}
	if err := thinpooltest.Expect(blocks, layer, 3, 7); err != nil {
		t.Error(err)
	}
	if err := blocks.Write(layer, 3, 8); err == nil {
		t.Error("write to a read-only volume: got no error")
	}
	if _, err := pool.Snapshot(t.Context(), "layer", "copy", thinpool.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	clone, err := pool.ActivateVolume(t.Context(), "copy")
	if err != nil {
		t.Fatal(err)
	}
	if err := blocks.Write(clone, 3, 9); err != nil {
		t.Errorf("its snapshot: %v", err)
	}
	// Its blocks are freed nevertheless, in use or not.
	removals, err := pool.RemoveVolumes(t.Context(), []string{"layer", "copy"}, thinpool.RemoveOptions{For: "layer"}, nil)
	if !errors.Is(err, fault.Invalid) || removals != nil {
		t.Fatalf("removing copy, which is no layer: got %v, %v; want %v", removals, err, fault.Invalid)
	}
	if removal, err := pool.RemoveVolume(t.Context(), "layer", thinpool.RemoveOptions{For: "layer"}); err != nil || !removal.Reaped || removal.Discarded == 0 {
		t.Errorf("got %+v, %v", removal, err)
	}
}

func TestViewShowsCommittedDocuments(t *testing.T) {
	f := thinpooltest.New(t)
	pool, err := thinpool.Create(t.Context(), f.Host(), f.Root, "p", thinpooltest.SmallPool())
	if err != nil {
		t.Fatal(err)
	}
	write := thinpool.Keep{With: func(tx *thinpool.Tx, v thinpool.VolumeRecord) error { return tx.Put("layers", v.Name, v.Name) }}
	if _, err := pool.CreateVolume(t.Context(), "first", thinpool.VolumeOptions{Keep: write}); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	_, err = pool.CreateVolume(t.Context(), "second", thinpool.VolumeOptions{Keep: thinpool.Keep{With: func(tx *thinpool.Tx, _ thinpool.VolumeRecord) error {
		return errors.Join(tx.Put("layers", "second", "x"), refused)
	}}})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	seen := func() (keys []string) {
		t.Helper()
		err := pool.View(t.Context(), func(tx *thinpool.Tx) error {
			for entry, err := range thinpool.Documents[string](tx, "layers", "") {
				if err != nil {
					return err
				}
				keys = append(keys, entry.Key)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if keys := seen(); len(keys) != 1 {
		t.Errorf("after a refused change: got %q, want one key", keys)
	}
	// Stop at each step of another change: View shows it only when no
	// recovery can undo it.
	for step := 1; ; step++ {
		f.StopAt(step, thinpooltest.After)
		_, err := pool.CreateVolume(t.Context(), "third", thinpool.VolumeOptions{Keep: write})
		_, stopped := f.Restart()
		before := seen()
		if err := pool.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := seen(); len(after) != len(before) {
			t.Errorf("stopped at step %d: got %q after recovery, want %q", step, after, before)
		}
		if !stopped {
			if err != nil || len(before) != 2 {
				t.Errorf("not stopped: got %q, %v", before, err)
			}
			return
		}
		_, err = pool.RemoveVolumes(t.Context(), []string{"third"}, thinpool.RemoveOptions{}, func(tx *thinpool.Tx) error { return tx.Delete("layers", "third") })
		if err != nil && !errors.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
	}
}
