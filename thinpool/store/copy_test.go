package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestCopy checks that a copy expands to an equal database, and that each wrong bit of it is
// found.
func TestCopy(t *testing.T) {
	db := newDB(t)
	id := allocate(t, db, "base")
	update(t, db, func(tx *Tx) error { return tx.PutDocument("notes", "one", "text") })
	if !db.Changed() {
		t.Error("got Changed false after a change, want true")
	}
	copied, err := db.Copy(t.Context())
	if err != nil || db.Changed() {
		t.Fatalf("got changed %v, %v; want false", db.Changed(), err)
	}
	view(t, db, func(*Tx) error { return nil })
	if db.Changed() {
		t.Error("got Changed true after a read, want false")
	}
	newest := func(copied []byte, want bool) {
		t.Helper()
		if got, err := db.IsNewest(t.Context(), bytes.NewReader(copied)); err != nil || got != want {
			t.Errorf("IsNewest: got %v, %v; want %v", got, err, want)
		}
	}
	newest(copied, true)
	newest([]byte("no copy"), false)
	defer func() {
		allocate(t, db, "more")
		newest(copied, false)
	}()
	content, err := Expand(copied)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "expanded")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	again := At(path)
	defer again.Close()
	if err := again.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	view(t, again, func(tx *Tx) error {
		volume, err := tx.Volume("base")
		if volume.ID != id {
			t.Errorf("base: got id %d, want %d", volume.ID, id)
		}
		var note string
		return errors.Join(err, tx.Document("notes", "one", &note))
	})
	for at := 10; at < len(copied); at += max(1, len(copied)/200) {
		copied[at] ^= 4
		if damaged, err := Expand(copied); err == nil && !bytes.Equal(damaged, content) {
			t.Errorf("byte %d is wrong: got %d bytes that differ from the database, want an error", at, len(damaged))
		} else if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d: got %v, want %v", at, err, ErrCorrupt)
		}
		copied[at] ^= 4
	}
	if _, err := Expand(copied[:len(copied)-9]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("truncated: got %v", err)
	}
}

func TestVerify(t *testing.T) {
	for name, spoil := range map[string]func(*Tx) error{
		"no pool":  func(tx *Tx) error { return tx.bucket(bucketMeta).Delete(keyPool) },
		"volume":   func(tx *Tx) error { return tx.bucket(bucketVolumes).Put([]byte("v"), []byte("null,")) },
		"document": func(tx *Tx) error { return tx.setDocument("notes", "one", []byte("{")) },
		"pending":  func(tx *Tx) error { return tx.bucket(bucketMeta).Put(keyPending, []byte(`{"tx":"x"}`)) },
	} {
		db := newDB(t)
		update(t, db, func(tx *Tx) error { return tx.PutDocument("notes", "one", "text") })
		if err := db.Verify(t.Context()); err != nil {
			t.Errorf("%s, intact: got %v", name, err)
		}
		update(t, db, spoil)
		if err := db.Verify(t.Context()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", name, err, ErrCorrupt)
		}
	}
}
