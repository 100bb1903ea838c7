package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/units"
)

func newDB(t *testing.T) *DB {
	t.Helper()
	db := At(filepath.Join(t.TempDir(), "state.db"))
	if err := db.Create(t.Context(), Pool{Name: "vault", Block: 64 * units.KiB}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func update(t *testing.T, db *DB, f func(*Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, db *DB, f func(*Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// allocate makes a volume with the next id.
func allocate(t *testing.T, db *DB, name string) uint32 {
	t.Helper()
	var id uint32
	update(t, db, func(tx *Tx) (err error) {
		if id, err = tx.AllocateID(); err != nil {
			return err
		}
		return tx.PutVolume(Volume{Name: name, ID: id})
	})
	return id
}

func TestPoolRecord(t *testing.T) {
	db := newDB(t)
	if err := db.Create(t.Context(), Pool{}); err == nil {
		t.Error("got a new database over an existing one")
	}
	update(t, db, func(tx *Tx) error {
		pool, err := tx.Pool()
		if err != nil {
			return err
		}
		if pool.Schema != SchemaVersion || pool.Name != "vault" || pool.Block != 64*units.KiB {
			t.Errorf("got %+v", pool)
		}
		pool.LowWater = 9
		return tx.PutPool(pool)
	})
	boom := errors.New("boom")
	err := db.Update(t.Context(), func(tx *Tx) error {
		return errors.Join(tx.PutPool(Pool{Name: "other"}), tx.PutVolume(Volume{Name: "v", ID: 1}), boom)
	})
	if !errors.Is(err, boom) {
		t.Error(err)
	}
	view(t, db, func(tx *Tx) error {
		pool, err := tx.Pool()
		if pool.Name != "vault" || pool.LowWater != 9 {
			t.Errorf("got a change of a failed transaction: %+v", pool)
		}
		if _, missing := tx.Volume("v"); !errors.Is(missing, fault.NotFound) {
			t.Errorf("its volume: got %v", missing)
		}
		return err
	})
}

// TestIDsAreNotReused checks that an id is used again only after all others.
func TestIDsAreNotReused(t *testing.T) {
	db := newDB(t)
	for want := uint32(1); want <= 4; want++ {
		if got := allocate(t, db, fmt.Sprint("v", want)); got != want {
			t.Errorf("got id %d, want %d", got, want)
		}
	}
	update(t, db, func(tx *Tx) error {
		// 2 is deleted, 3 has a tombstone, 4 is undone: none of them is free for now.
		if err := tx.DeleteVolume(Volume{Name: "v2", ID: 2}); err != nil {
			return err
		}
		if err := tx.AddTombstone(Tombstone{Volume: Volume{Name: "v3", ID: 3}}); err != nil {
			return err
		}
		return tx.Undo(Pending{Tx: 1, Volume: "v4", ID: 4})
	})
	if got := allocate(t, db, "v5"); got != 5 {
		t.Errorf("got id %d, want 5", got)
	}
}

func TestIDsWrapAtTheirEnd(t *testing.T) {
	db := newDB(t)
	allocate(t, db, "one")
	two := allocate(t, db, "two")
	allocate(t, db, "three")
	update(t, db, func(tx *Tx) error { return tx.putNumber(keyNextID, maxID-1) })
	for i, want := range []uint32{maxID - 1, maxID} {
		if got := allocate(t, db, fmt.Sprint("last", i)); got != want {
			t.Errorf("got id %d, want %d", got, want)
		}
	}
	update(t, db, func(tx *Tx) error { return tx.AddTombstone(Tombstone{Volume: Volume{Name: "two", ID: two}}) })
	if got := allocate(t, db, "wrapped"); got != 4 {
		t.Errorf("got id %d after the wrap, want 4: one and three are volumes, two has a tombstone", got)
	}
	update(t, db, func(tx *Tx) error { return errors.Join(tx.DropTombstone(two), tx.putNumber(keyNextID, 1)) })
	if got := allocate(t, db, "reused"); got != two {
		t.Errorf("got id %d, want the reaped %d", got, two)
	}
	// A counter that is out of range starts over.
	update(t, db, func(tx *Tx) error { return tx.putNumber(keyNextID, 1<<40) })
	if got := allocate(t, db, "restarted"); got != 5 {
		t.Errorf("got id %d, want 5", got)
	}
}

// TestIDsSkipThoseInUse checks that the search skips a long run of ids in use. All of the
// 2^24 ids would take minutes.
func TestIDsSkipThoseInUse(t *testing.T) {
	db := newDB(t)
	update(t, db, func(tx *Tx) error {
		for id := uint32(1); id <= 2000; id++ {
			if err := tx.bucket(bucketIDs).Put(idKey(id), []byte("v")); err != nil {
				return err
			}
		}
		return tx.putNumber(keyNextID, 1)
	})
	if got := allocate(t, db, "next"); got != 2001 {
		t.Errorf("got id %d, want 2001", got)
	}
}

func TestUndo(t *testing.T) {
	db := newDB(t)
	pending := Pending{Tx: 8, Volume: "new", ID: 3, Origin: 1}
	update(t, db, func(tx *Tx) error {
		return errors.Join(tx.PutVolume(Volume{Name: "new", ID: 3, Tx: 8}), tx.PutVolume(Volume{Name: "old", ID: 1, Tx: 7}), tx.Begin(pending))
	})
	view(t, db, func(tx *Tx) error {
		got, err := tx.Pending()
		last, again := tx.LastTx()
		if !reflect.DeepEqual(got, pending) || last != 8 {
			t.Errorf("got %+v, last %d", got, last)
		}
		return errors.Join(err, again)
	})
	for range 2 { // it is repeated if the process is killed after it
		update(t, db, func(tx *Tx) error { return tx.Undo(pending) })
	}
	view(t, db, func(tx *Tx) error {
		if _, err := tx.Volume("new"); !errors.Is(err, fault.NotFound) {
			t.Errorf("undone volume: got %v", err)
		}
		if _, err := tx.Volume("old"); err != nil {
			t.Error(err)
		}
		if last, err := tx.LastTx(); last != 7 || err != nil {
			t.Errorf("got last %d, %v", last, err)
		}
		if _, err := tx.Pending(); !errors.Is(err, fault.NotFound) {
			t.Errorf("pending: got %v", err)
		}
		return nil
	})
	// Another volume has the name now, and stays.
	update(t, db, func(tx *Tx) error {
		return errors.Join(tx.PutVolume(Volume{Name: "new", ID: 9, Tx: 9}), tx.Undo(pending))
	})
	view(t, db, func(tx *Tx) error { _, err := tx.Volume("new"); return err })
}

func TestAddTombstone(t *testing.T) {
	db := newDB(t)
	id := allocate(t, db, "doomed")
	tombstone := Tombstone{Volume: Volume{Name: "doomed", ID: id, Size: units.GiB}, Removed: time.Unix(1e9, 0).UTC()}
	update(t, db, func(tx *Tx) error { return tx.AddTombstone(tombstone) })
	next := allocate(t, db, "doomed") // the name is free at once
	if next == id {
		t.Error("got the id of the removed volume again")
	}
	view(t, db, func(tx *Tx) error {
		got, err := tx.Tombstone(id)
		if got != tombstone {
			t.Errorf("got %+v", got)
		}
		for one, err := range tx.Tombstones() {
			if one != tombstone || err != nil {
				t.Errorf("got %+v, %v", one, err)
			}
		}
		return err
	})
	update(t, db, func(tx *Tx) error {
		return errors.Join(tx.DropTombstone(id), tx.DropTombstone(id), tx.DropTombstone(777))
	})
	view(t, db, func(tx *Tx) error {
		if _, err := tx.Tombstone(id); !errors.Is(err, fault.NotFound) {
			t.Error(err)
		}
		if volume, err := tx.Volume("doomed"); err != nil || volume.ID != next {
			t.Errorf("new volume of the name: got %+v, %v", volume, err)
		}
		return nil
	})
}

func TestTwoHandlesSeeEachOther(t *testing.T) {
	a := newDB(t)
	b := At(a.path)
	defer b.Close()
	for i := range 20 {
		writer, reader := a, b
		if i%2 == 1 {
			writer, reader = b, a
		}
		name := fmt.Sprint("v", i)
		id := allocate(t, writer, name)
		if id != uint32(i+1) {
			t.Errorf("got id %d, want %d", id, i+1)
		}
		view(t, reader, func(tx *Tx) error { _, err := tx.Volume(name); return err })
	}
}

func TestContextEndsTheWait(t *testing.T) {
	a := newDB(t)
	b := At(a.path)
	defer b.Close()
	update(t, a, func(*Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := b.View(ctx, func(*Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a writer is open: got %v", err)
		}
		return nil
	})
	view(t, b, func(*Tx) error { return nil })
}
