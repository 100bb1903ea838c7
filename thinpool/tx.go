package thinpool

import (
	"errors"
	"fmt"
	"iter"

	"thinctl/fault"
	"thinctl/thinpool/store"
)

// The records that the pool's database keeps of the pool and its volumes.
type (
	// PoolRecord is the record of the pool itself.
	PoolRecord = store.Pool
	// VolumeRecord is the record of a thin volume.
	VolumeRecord = store.Volume
	// Backing is where a part of the pool lies: a sparse file or a device.
	Backing = store.Backing
	// Reserve is the free space, in percent, that admission keeps.
	Reserve = store.Reserve
	// DocumentKind names a set of documents.
	DocumentKind = store.Kind
	// DocumentEntry is a document with its key.
	DocumentEntry[T any] = store.Entry[T]
)

// Tx is a transaction of the pool's database for the packages above the pool. They keep
// documents of their own, and read the records of volumes. Their writes become durable
// with the pool's change, or not at all. A Tx is valid until the function that received
// it returns.
type Tx struct{ db *store.Tx }

// wrap adapts a caller's function to the database's transactions; nil stays nil.
func wrap(f func(*Tx) error) func(*store.Tx) error {
	if f == nil {
		return nil
	}
	return func(tx *store.Tx) error { return f(&Tx{tx}) }
}

// Get decodes the document of a key into a value. The kind of the error is NotFound if
// there is none.
func (t *Tx) Get(kind DocumentKind, key string, into any) error {
	return t.db.Document(kind, key, into)
}

// Put writes a document as JSON. The key must not be empty.
func (t *Tx) Put(kind DocumentKind, key string, record any) error {
	return t.db.PutDocument(kind, key, record)
}

// Delete removes a document. It succeeds if there is none.
func (t *Tx) Delete(kind DocumentKind, key string) error { return t.db.DeleteDocument(kind, key) }

// Count returns the number of documents of a kind. It decodes none.
func (t *Tx) Count(kind DocumentKind) int { return t.db.CountDocuments(kind) }

// Documents yields the documents of a kind whose keys begin with prefix, in the order
// of their keys. An error ends it.
func Documents[T any](t *Tx, kind DocumentKind, prefix string) iter.Seq2[DocumentEntry[T], error] {
	return store.Documents[T](t.db, kind, prefix)
}

// Document returns the document of a key, and whether there is one.
func Document[T any](t *Tx, kind DocumentKind, key string) (record T, found bool, err error) {
	err = t.Get(kind, key, &record)
	if errors.Is(err, fault.NotFound) {
		return record, false, nil
	}
	return record, err == nil, err
}

// Volume returns the record of a volume. The kind of the error is NotFound if there is
// none.
func (t *Tx) Volume(name string) (VolumeRecord, error) { return t.db.Volume(name) }

// Volumes yields the records of all volumes, in the order of their names.
func (t *Tx) Volumes() iter.Seq2[VolumeRecord, error] { return t.db.Volumes() }

// Keep changes what a volume is kept for, and nothing else. It is for repairs.
func (t *Tx) Keep(volume VolumeRecord, purpose string) error {
	volume.For = purpose
	return t.db.PutVolume(volume)
}

// Release turns a volume that another package kept into a volume of the user, under a
// new name: the old name can be needed for the same object again. It returns the new
// name. It is for repairs.
func (t *Tx) Release(volume VolumeRecord) (string, error) {
	if err := t.db.DeleteVolume(volume); err != nil {
		return "", err
	}
	first := fmt.Sprintf("recovered-%d", volume.ID)
	volume.Name, volume.For = first, ""
	for n := 2; ; n++ {
		_, err := t.db.Volume(volume.Name)
		if fault.KindOf(err) == fault.NotFound {
			break
		}
		if err != nil {
			return "", err
		}
		volume.Name = fmt.Sprintf("%s-%d", first, n)
	}
	return volume.Name, t.db.PutVolume(volume)
}
