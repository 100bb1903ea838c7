package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"thinctl/fault"

	bolt "go.etcd.io/bbolt"
)

var (
	bucketMeta       = []byte("meta")
	bucketVolumes    = []byte("volumes")    // name -> Volume
	bucketIDs        = []byte("ids")        // device id -> name; of tombstones the empty name
	bucketTombstones = []byte("tombstones") // device id -> Tombstone

	keyPool    = []byte("pool")
	keyPending = []byte("pending")
	keyLastTx  = []byte("last_tx")
	keyNextID  = []byte("next_id")
	keyReading = []byte("reading")
)

func buckets() [][]byte { return [][]byte{bucketMeta, bucketVolumes, bucketIDs, bucketTombstones} }

const maxID = 1<<24 - 1

// Tx is one transaction. It is valid until the function that received it returns.
type Tx struct {
	bolt    *bolt.Tx
	journal *journal // nil outside of Journal

	// The state that AsOf shows, without the newest change.
	hidden  uint64 // volumes with at least this transaction id are hidden; 0 hides none
	earlier map[documentKey]json.RawMessage
}

func (t *Tx) bucket(name []byte) *bolt.Bucket { return t.bolt.Bucket(name) }

func (t *Tx) get(bucket, key []byte, into any) error {
	raw := t.bucket(bucket).Get(key)
	if raw == nil {
		return fault.NotFound
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: record %q of %s: %w", ErrCorrupt, key, bucket, err)
	}
	return nil
}

func (t *Tx) put(bucket, key []byte, record any) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return t.bucket(bucket).Put(key, raw)
}

// Pool returns the pool's record.
func (t *Tx) Pool() (Pool, error) {
	var pool Pool
	if err := t.get(bucketMeta, keyPool, &pool); err != nil {
		return Pool{}, err
	}
	if pool.Schema != SchemaVersion {
		return Pool{}, fmt.Errorf("the database has schema %d, this program knows %d: use the thinctl that wrote it",
			pool.Schema, SchemaVersion)
	}
	return pool, nil
}

// PutPool writes the pool's record.
func (t *Tx) PutPool(pool Pool) error {
	pool.Schema = SchemaVersion
	return t.put(bucketMeta, keyPool, pool)
}

// LastTx returns the transaction id of the newest change.
func (t *Tx) LastTx() (uint64, error) { return t.number(keyLastTx) }

func (t *Tx) number(key []byte) (uint64, error) {
	raw := t.bucket(bucketMeta).Get(key)
	switch len(raw) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(raw), nil
	}
	return 0, fmt.Errorf("%w: %s has %d bytes", ErrCorrupt, key, len(raw))
}

func (t *Tx) putNumber(key []byte, v uint64) error {
	return t.bucket(bucketMeta).Put(key, binary.BigEndian.AppendUint64(nil, v))
}

// Forget deletes the note of the newest change and makes tx the last transaction id. A
// repair uses it to set the database to the pool's id.
func (t *Tx) Forget(tx uint64) error {
	if err := t.bucket(bucketMeta).Delete(keyPending); err != nil {
		return err
	}
	return t.putNumber(keyLastTx, tx)
}

// Begin writes the note of a change before the kernel is called, and raises LastTx to
// pending.Tx. It overwrites the note of the previous change, which is finished.
func (t *Tx) Begin(pending Pending) error {
	if err := t.put(bucketMeta, keyPending, pending); err != nil {
		return err
	}
	return t.putNumber(keyLastTx, pending.Tx)
}

// Pending returns the note of the newest change, finished or not.
func (t *Tx) Pending() (Pending, error) {
	var pending Pending
	err := t.get(bucketMeta, keyPending, &pending)
	return pending, err
}

// Undo undoes a change that did not happen. It deletes the records of its volumes,
// restores its documents, and resets LastTx to the transaction id before it. The ids of
// the volumes are not used again soon.
func (t *Tx) Undo(pending Pending) error {
	for _, begun := range pending.Volumes() {
		volume, err := t.Volume(begun.Volume)
		if err == nil && volume.ID == begun.ID && volume.Tx == pending.Tx {
			err = t.DeleteVolume(volume)
		}
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
	}
	for _, prior := range pending.Documents {
		if err := t.setDocument(prior.Kind, prior.Key, prior.Was); err != nil {
			return err
		}
	}
	if err := t.bucket(bucketMeta).Delete(keyPending); err != nil {
		return err
	}
	return t.putNumber(keyLastTx, pending.Tx-1)
}

// Reading returns the note of a reading that is in progress or was killed.
func (t *Tx) Reading() (Reading, error) {
	var reading Reading
	err := t.get(bucketMeta, keyReading, &reading)
	return reading, err
}

// PutReading notes a reading; DropReading ends it.
func (t *Tx) PutReading(reading Reading) error { return t.put(bucketMeta, keyReading, reading) }

// DropReading drops the note of a reading.
func (t *Tx) DropReading() error { return t.bucket(bucketMeta).Delete(keyReading) }

func idKey(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

// Volume returns a volume by name, whether or not its change is finished, except after
// [Tx.AsOf].
func (t *Tx) Volume(name string) (Volume, error) {
	var volume Volume
	err := t.get(bucketVolumes, []byte(name), &volume)
	if err == nil && t.hides(volume) {
		return Volume{}, fault.NotFound
	}
	return volume, err
}

func (t *Tx) hides(volume Volume) bool {
	return t.hidden != 0 && volume.Tx >= t.hidden
}

// PutVolume writes a volume's record and claims its id.
func (t *Tx) PutVolume(volume Volume) error {
	if err := t.bucket(bucketIDs).Put(idKey(volume.ID), []byte(volume.Name)); err != nil {
		return err
	}
	return t.put(bucketVolumes, []byte(volume.Name), volume)
}

// DeleteVolume removes a volume's record and frees its id.
func (t *Tx) DeleteVolume(volume Volume) error {
	if err := t.bucket(bucketIDs).Delete(idKey(volume.ID)); err != nil {
		return err
	}
	return t.bucket(bucketVolumes).Delete([]byte(volume.Name))
}

// AddTombstone turns a volume into a tombstone: its name is free at once, its id stays
// taken.
func (t *Tx) AddTombstone(tombstone Tombstone) error {
	if err := t.bucket(bucketVolumes).Delete([]byte(tombstone.Name)); err != nil {
		return err
	}
	if err := t.bucket(bucketIDs).Put(idKey(tombstone.ID), nil); err != nil {
		return err
	}
	return t.put(bucketTombstones, idKey(tombstone.ID), tombstone)
}

// DropTombstone deletes a tombstone whose blocks are back in the pool.
func (t *Tx) DropTombstone(id uint32) error {
	if t.bucket(bucketTombstones).Get(idKey(id)) == nil {
		return nil
	}
	if err := t.bucket(bucketTombstones).Delete(idKey(id)); err != nil {
		return err
	}
	return t.bucket(bucketIDs).Delete(idKey(id))
}

// Tombstone returns the tombstone of a device id.
func (t *Tx) Tombstone(id uint32) (Tombstone, error) {
	var tombstone Tombstone
	err := t.get(bucketTombstones, idKey(id), &tombstone)
	return tombstone, err
}

// Volumes yields all volumes in the order of their names. An error ends it.
func (t *Tx) Volumes() iter.Seq2[Volume, error] {
	return func(yield func(Volume, error) bool) {
		for volume, err := range records[Volume](t, bucketVolumes) {
			if err == nil && t.hides(volume) {
				continue
			}
			if !yield(volume, err) {
				return
			}
		}
	}
}

// Tombstones yields all tombstones in the order of their ids.
func (t *Tx) Tombstones() iter.Seq2[Tombstone, error] {
	return records[Tombstone](t, bucketTombstones)
}

func records[T any](t *Tx, bucket []byte) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		cursor := t.bucket(bucket).Cursor()
		for key, raw := cursor.First(); key != nil; key, raw = cursor.Next() {
			var record T
			if err := json.Unmarshal(raw, &record); err != nil {
				yield(record, fmt.Errorf("%w: record %q of %s: %w", ErrCorrupt, key, bucket, err))
				return
			}
			if !yield(record, nil) {
				return
			}
		}
	}
}

// AllocateID returns a device id that no volume or tombstone has. Ids ascend, so none is
// used again before all others were used.
func (t *Tx) AllocateID() (uint32, error) {
	next, err := t.number(keyNextID)
	if err != nil {
		return 0, err
	}
	for range maxID {
		if next < 1 || next > maxID {
			next = 1
		}
		id := uint32(next)
		next++
		if t.bucket(bucketIDs).Get(idKey(id)) == nil {
			return id, t.putNumber(keyNextID, next)
		}
	}
	return 0, ErrIDsExhausted
}
