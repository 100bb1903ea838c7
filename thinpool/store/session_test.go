package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thinctl/internal/filelock"
	"thinctl/thinpool/store"
)

func newDB(t *testing.T) (*store.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	db := store.At(path)
	if err := db.Create(t.Context(), store.Pool{Name: "p"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, path
}

func add(ctx context.Context, db *store.DB, name string) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		id, err := tx.AllocateID()
		if err != nil {
			return err
		}
		return tx.PutVolume(store.Volume{Name: name, ID: id})
	})
}

func names(t *testing.T, db *store.DB) map[string]uint32 {
	t.Helper()
	found := map[string]uint32{}
	err := db.View(t.Context(), func(tx *store.Tx) error {
		for volume, err := range tx.Volumes() {
			if err != nil {
				return err
			}
			found[volume.Name] = volume.ID
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTwoWriters checks that two handles on the file, as two processes have, see each other's
// changes at once and overwrite none, while the file grows and shrinks.
func TestTwoWriters(t *testing.T) {
	one, path := newDB(t)
	other := store.At(path)
	t.Cleanup(func() { other.Close() })
	const changes = 300
	var writers sync.WaitGroup
	for who, db := range []*store.DB{one, other} {
		writers.Go(func() {
			for i := range changes {
				name := fmt.Sprintf("%d-%d", who, i)
				if err := add(t.Context(), db, name); err != nil {
					t.Error(err)
					return
				}
				if i%3 != 0 {
					continue
				}
				err := db.Update(t.Context(), func(tx *store.Tx) error {
					volume, err := tx.Volume(name)
					if err != nil {
						return err
					}
					return tx.DeleteVolume(volume)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	fresh := store.At(path)
	defer fresh.Close()
	ids := map[uint32]string{}
	for _, db := range []*store.DB{one, other, fresh} {
		found := names(t, db)
		if len(found) != 2*changes*2/3 {
			t.Errorf("got %d volumes, want %d", len(found), 2*changes*2/3)
		}
		for name, id := range found {
			if ids[id] == "" {
				ids[id] = name
			}
			if ids[id] != name {
				t.Errorf("got %s and %s with the same id %d", name, ids[id], id)
			}
		}
	}
}

// TestUnlockedWhileOpen checks that the file is unlocked between transactions.
func TestUnlockedWhileOpen(t *testing.T) {
	db, path := newDB(t)
	for _, use := range []func() error{
		func() error { return add(t.Context(), db, "a") },
		func() error { return add(t.Context(), db, "a\x00") },
		func() error { return db.View(t.Context(), func(*store.Tx) error { return errors.New("mine") }) },
		func() error { return db.Update(t.Context(), func(*store.Tx) error { return errors.New("mine") }) },
	} {
		use()
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		if err := filelock.AcquireFile(ctx, file, false); err != nil {
			t.Error(err)
		}
		cancel()
		file.Close()
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	db, path := newDB(t)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := filelock.AcquireFile(t.Context(), file, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := add(ctx, db, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := filelock.ReleaseFile(file); err != nil {
		t.Fatal(err)
	}
	if err := add(t.Context(), db, "a"); err != nil {
		t.Error(err)
	}
}

func TestFileReplaced(t *testing.T) {
	replace := map[string]func(path string, content []byte) error{
		"renamed over": func(path string, content []byte) error {
			if err := os.WriteFile(path+".new", content, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"overwritten": func(path string, content []byte) error { return os.WriteFile(path, content, 0o600) },
	}
	for name, replace := range replace {
		t.Run(name, func(t *testing.T) {
			db, path := newDB(t)
			if err := add(t.Context(), db, "a"); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(20 * time.Millisecond) // a file's clock ticks every few ms
			if err := add(t.Context(), db, "b"); err != nil {
				t.Fatal(err)
			}
			<-time.After(20 * time.Millisecond)
			if err := replace(path, before); err != nil {
				t.Fatal(err)
			}
			if found := names(t, db); len(found) != 1 {
				t.Errorf("got the old file's volumes %v", found)
			}
			if err := add(t.Context(), db, "c"); err != nil {
				t.Error(err)
			}
			if found := names(t, db); len(found) != 2 || found["c"] == 0 {
				t.Errorf("got volumes %v", found)
			}
		})
	}
}

func TestFileGone(t *testing.T) {
	db, path := newDB(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := add(t.Context(), db, "a"); !errors.Is(err, store.ErrNoDatabase) {
		t.Errorf("got %v", err)
	}
	if err := db.View(t.Context(), func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrNoDatabase) {
		t.Errorf("got %v", err)
	}
}

// TestPanic checks that a panic in a transaction undoes it, and that the database stays
// usable.
func TestPanic(t *testing.T) {
	db, _ := newDB(t)
	func() {
		defer func() { recover() }()
		db.Update(t.Context(), func(tx *store.Tx) error {
			tx.PutVolume(store.Volume{Name: "half", ID: 9})
			panic("here")
		})
	}()
	if err := add(t.Context(), db, "a"); err != nil {
		t.Fatal(err)
	}
	if found := names(t, db); len(found) != 1 {
		t.Errorf("got volumes %v", found)
	}
}
