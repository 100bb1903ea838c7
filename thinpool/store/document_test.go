package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"thinctl/fault"

	"pgregory.net/rapid"
)

func all(tx *Tx, kind Kind, prefix string) (map[string]string, []string, error) {
	found, keys := map[string]string{}, []string(nil)
	for entry, err := range Documents[string](tx, kind, prefix) {
		if err != nil {
			return nil, nil, err
		}
		found[entry.Key] = entry.Record
		keys = append(keys, entry.Key)
	}
	if n := tx.CountDocuments(kind); prefix == "" && n != len(keys) {
		return nil, nil, fmt.Errorf("got a count of %d for %d documents", n, len(keys))
	}
	return found, keys, nil
}

// TestDocumentsOfAChange makes changes of random documents. A change must be visible only
// once its transaction id is reached, and an undone one must leave nothing.
func TestDocumentsOfAChange(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		db := newDB(t)
		key := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "ba", "c"})
		kind := rapid.SampledFrom([]Kind{"layers", "images"})
		was := map[Kind]map[string]string{"layers": {}, "images": {}}
		number := 0
		change := func(state map[Kind]map[string]string) func(*Tx) error {
			type step struct {
				kind   Kind
				key    string
				record string
			}
			var steps []step
			for range rapid.IntRange(0, 6).Draw(r, "steps") {
				s := step{kind: kind.Draw(r, "kind"), key: key.Draw(r, "key")}
				if rapid.Bool().Draw(r, "put") {
					number++
					s.record = fmt.Sprint(number)
					state[s.kind][s.key] = s.record
				} else {
					delete(state[s.kind], s.key)
				}
				steps = append(steps, s)
			}
			return func(tx *Tx) error {
				for _, s := range steps {
					var err error
					if s.record == "" {
						err = tx.DeleteDocument(s.kind, s.key)
					} else {
						err = tx.PutDocument(s.kind, s.key, s.record)
					}
					if err != nil {
						return err
					}
				}
				return nil
			}
		}
		update(t, db, change(was))
		is := map[Kind]map[string]string{"layers": maps.Clone(was["layers"]), "images": maps.Clone(was["images"])}
		write := change(is)
		pending := Pending{Tx: 1, Volume: "new", ID: 1}
		update(t, db, func(tx *Tx) (err error) {
			if pending.Documents, err = tx.Journal(func() error { return write(tx) }); err != nil {
				return err
			}
			return errors.Join(tx.PutVolume(Volume{Name: "new", ID: 1, Tx: 1}), tx.Begin(pending))
		})
		expect := func(reached uint64, want map[Kind]map[string]string, volume bool) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				if err := tx.AsOf(reached); err != nil {
					return err
				}
				for kind, want := range want {
					for _, prefix := range []string{"", "a", "ab", "b", "x"} {
						found, keys, err := all(tx, kind, prefix)
						if err != nil {
							return err
						}
						wanted := maps.Clone(want)
						maps.DeleteFunc(wanted, func(key, _ string) bool { return len(key) < len(prefix) || key[:len(prefix)] != prefix })
						if !maps.Equal(found, wanted) || !slices.IsSorted(keys) || len(keys) != len(found) {
							r.Fatalf("at %d, %s %q: %v, want %v", reached, kind, prefix, found, wanted)
						}
					}
					for _, key := range []string{"a", "ab", "abc", "b", "ba", "c"} {
						var record string
						err := tx.Document(kind, key, &record)
						if record != want[key] || errors.Is(err, fault.NotFound) != (want[key] == "") {
							r.Fatalf("at %d, %s %q: %q and %v, want %q", reached, kind, key, record, err, want[key])
						}
					}
				}
				_, err := tx.Volume("new")
				count := 0
				for range tx.Volumes() {
					count++
				}
				if (err == nil) != volume || (count == 1) != volume {
					r.Fatalf("at %d: volume %v, %d of them, want %t", reached, err, count, volume)
				}
				return nil
			})
		}
		expect(0, was, false)
		expect(1, is, true)
		for range 2 { // it is repeated if the process is killed after it
			update(t, db, func(tx *Tx) error { return tx.Undo(pending) })
			expect(0, was, false)
		}
	})
}

func TestDocumentFaults(t *testing.T) {
	db := newDB(t)
	view(t, db, func(tx *Tx) error {
		var record string
		if err := tx.Document("layers", "x", &record); !errors.Is(err, fault.NotFound) {
			t.Errorf("missing document: got %v", err)
		}
		return nil
	})
	update(t, db, func(tx *Tx) error {
		if err := tx.PutDocument("layers", "", "x"); err == nil {
			t.Error("empty key: got no error")
		}
		if err := tx.PutDocument("layers", "f", func() {}); err == nil {
			t.Error("function as a record: got no error")
		}
		return tx.PutDocument("layers", "x", 5)
	})
	view(t, db, func(tx *Tx) error {
		var record string
		if err := tx.Document("layers", "x", &record); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a number read as text: got %v", err)
		}
		if _, _, err := all(tx, "layers", ""); !errors.Is(err, ErrCorrupt) {
			t.Errorf("numbers read as texts: got %v", err)
		}
		return nil
	})
}
