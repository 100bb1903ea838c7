package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/fault"
)

// use reads and changes a database as a pool does.
func use(t *testing.T, db *DB) error {
	read := db.View(t.Context(), func(tx *Tx) error {
		_, err := tx.Pool()
		_, last := tx.LastTx()
		_, pending := tx.Pending()
		if errors.Is(pending, fault.NotFound) {
			pending = nil
		}
		for _, fault := range tx.Volumes() {
			err = errors.Join(err, fault)
		}
		for _, fault := range tx.Tombstones() {
			err = errors.Join(err, fault)
		}
		return errors.Join(err, last, pending)
	})
	change := db.Update(t.Context(), func(tx *Tx) error {
		id, err := tx.AllocateID()
		if err != nil {
			return err
		}
		if err := tx.PutVolume(Volume{Name: "new", ID: id}); err != nil {
			return err
		}
		if err := tx.Begin(Pending{Tx: 3, Volume: "new", ID: id}); err != nil {
			return err
		}
		return tx.AddTombstone(Tombstone{Volume: Volume{Name: "new", ID: id}})
	})
	return errors.Join(read, change, db.Close())
}

// sound returns the bytes of an intact database with records.
func sound(t *testing.T) []byte {
	t.Helper()
	db := newDB(t)
	for i := range 200 {
		allocate(t, db, fmt.Sprintf("volume-%d-%s", i, strings.Repeat("x", 60)))
	}
	update(t, db, func(tx *Tx) error {
		return tx.AddTombstone(Tombstone{Volume: Volume{Name: "volume-3-" + strings.Repeat("x", 60), ID: 4}})
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(db.path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func spoiled(t *testing.T, content []byte) *DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return At(path)
}

func TestNoDatabase(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "no", "directory")} {
		if err := use(t, At(path)); !errors.Is(err, ErrNoDatabase) {
			t.Errorf("%s: got %v", path, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was created by a read", path)
		}
	}
}

func TestNotADatabase(t *testing.T) {
	for name, content := range map[string][]byte{
		"empty": {}, "one byte": {1}, "text": []byte("this is not a database\n"),
		"zeros": make([]byte, 64<<10), "ones": []byte(strings.Repeat("\xff", 64<<10)),
	} {
		if err := use(t, spoiled(t, content)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", name, err, ErrCorrupt)
		}
	}
}

func TestTruncated(t *testing.T) {
	content := sound(t)
	for _, size := range []int{1, 512, 4095, 4096, 8192, 12288, 16384, 20480, 32768, 40000, 65536} {
		if size >= len(content) {
			continue
		}
		if err := use(t, spoiled(t, content[:size])); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d of %d: got %v, want %v", size, len(content), err, ErrCorrupt)
		}
	}
}

// TestFlippedBytes checks that no wrong byte causes a panic. bbolt has checksums only on its
// two meta pages, so not every fault can be found.
func TestFlippedBytes(t *testing.T) {
	content := sound(t)
	source := rand.New(rand.NewPCG(1, 33))
	seen := 0
	for range 1000 {
		changed := append([]byte(nil), content...)
		page := source.IntN(min(len(content)/4096, 40))
		// Page headers and the headers of elements matter most.
		at := page*4096 + source.IntN(64)
		changed[at] ^= byte(1 + source.IntN(255))
		if err := use(t, spoiled(t, changed)); err != nil {
			if seen++; !errors.Is(err, ErrCorrupt) {
				t.Errorf("byte %d: got %v, want %v", at, err, ErrCorrupt)
			}
		}
	}
	t.Logf("%d of 1000 faults were seen", seen)
}

// TestPagesThatLeadAstray checks that pages that form a loop, or that claim more than the
// file holds, are found before bbolt follows them. bbolt would follow them until it has used
// all memory.
func TestPagesThatLeadAstray(t *testing.T) {
	content := sound(t)
	if err := checkPages(content); err != nil {
		t.Fatal(err)
	}
	newest, _ := newestMeta(content)
	root := binary.NativeEndian.Uint64(newest[metaRoot:])
	found := map[uint16]int{}
	for at := 2 * 4096; at+4096 <= len(content); at += 4096 {
		id, flags := uint64(at/4096), binary.NativeEndian.Uint16(content[at+8:])
		if binary.NativeEndian.Uint64(content[at:]) != id || checkPagesWith(content, at, 1, 0xFF) == nil {
			continue // not in the tree: no page refers to it
		}
		found[flags]++
		spoil := map[string]func(page []byte){
			"four billion that follow": func(page []byte) { binary.NativeEndian.PutUint32(page[12:], 0xFFFFFFFF) },
			"another's kind":           func(page []byte) { binary.NativeEndian.PutUint16(page[8:], 0x04) },
			"too many elements":        func(page []byte) { binary.NativeEndian.PutUint16(page[10:], 0xFFF0) },
		}
		if flags == pageBranch {
			spoil["a page that is its own child"] = func(page []byte) { binary.NativeEndian.PutUint64(page[pageHeader+8:], id) }
			spoil["the same child twice"] = func(page []byte) { copy(page[pageHeader+pageElement+8:], page[pageHeader+8:pageHeader+16]) }
			spoil["a child beyond the end"] = func(page []byte) { binary.NativeEndian.PutUint64(page[pageHeader+8:], 1<<40) }
		}
		if flags == pageLeaf {
			spoil["a value of a gigabyte"] = func(page []byte) { binary.NativeEndian.PutUint32(page[pageHeader+12:], 1<<30) }
		}
		if flags == pageFree {
			spoil["more free pages than it has"] = func(page []byte) {
				binary.NativeEndian.PutUint16(page[10:], manyFree)
				binary.NativeEndian.PutUint64(page[pageHeader:], 1<<50)
			}
			spoil["a page free that is in use"] = func(page []byte) { binary.NativeEndian.PutUint64(page[pageHeader:], root) }
			spoil["itself free"] = func(page []byte) { binary.NativeEndian.PutUint64(page[pageHeader:], id) }
		}
		for name, spoil := range spoil {
			changed := append([]byte(nil), content...)
			spoil(changed[at : at+4096])
			if err := use(t, spoiled(t, changed)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("page %d, flags %#x, with %s: %v", id, flags, name, err)
			}
		}
	}
	if found[pageBranch] == 0 || found[pageLeaf] < 3 || found[pageFree] != 1 {
		t.Errorf("got page kinds %v", found)
	}
}

// checkPagesWith calls checkPages with one byte changed.
func checkPagesWith(content []byte, page, at int, flip byte) error {
	changed := append([]byte(nil), content...)
	changed[page+at] ^= flip
	return checkPages(changed)
}

// TestForeignRecords checks that a bbolt database is rejected if its buckets or records are
// missing, or are those of another program.
func TestForeignRecords(t *testing.T) {
	for name, spoil := range map[string]func(*Tx) error{
		"no buckets": func(tx *Tx) error {
			return errors.Join(tx.bolt.DeleteBucket(bucketMeta), tx.bolt.DeleteBucket(bucketVolumes),
				tx.bolt.DeleteBucket(bucketIDs), tx.bolt.DeleteBucket(bucketTombstones))
		},
		"no meta":       func(tx *Tx) error { return tx.bolt.DeleteBucket(bucketMeta) },
		"no volumes":    func(tx *Tx) error { return tx.bolt.DeleteBucket(bucketVolumes) },
		"no ids":        func(tx *Tx) error { return tx.bolt.DeleteBucket(bucketIDs) },
		"no tombstones": func(tx *Tx) error { return tx.bolt.DeleteBucket(bucketTombstones) },
		"pool":          func(tx *Tx) error { return tx.bucket(bucketMeta).Put(keyPool, []byte("{")) },
		"last id":       func(tx *Tx) error { return tx.bucket(bucketMeta).Put(keyLastTx, []byte("1")) },
		"next id":       func(tx *Tx) error { return tx.bucket(bucketMeta).Put(keyNextID, []byte("123456789")) },
		"pending":       func(tx *Tx) error { return tx.bucket(bucketMeta).Put(keyPending, []byte(`{"tx":"x"}`)) },
		"volume":        func(tx *Tx) error { return tx.bucket(bucketVolumes).Put([]byte("v"), []byte("null,")) },
		"tombstone":     func(tx *Tx) error { return tx.bucket(bucketTombstones).Put(idKey(4), []byte("")) },
	} {
		db := newDB(t)
		update(t, db, spoil)
		if err := use(t, db); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", name, err, ErrCorrupt)
		}
	}
}

func TestSchemaVersion(t *testing.T) {
	for _, schema := range []int{0, SchemaVersion + 1} {
		db := newDB(t)
		update(t, db, func(tx *Tx) error { return tx.put(bucketMeta, keyPool, Pool{Schema: schema, Name: "vault"}) })
		err := db.View(t.Context(), func(tx *Tx) error { _, err := tx.Pool(); return err })
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("schema %d", schema)) {
			t.Errorf("schema %d: %v", schema, err)
		}
	}
}
