package store

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"thinctl/fault"

	bolt "go.etcd.io/bbolt"
)

// bucketDocuments holds one bucket for each kind, made when it is first used.
var bucketDocuments = []byte("documents")

// Kind names a set of documents: records of the packages above the pool, which are
// written in the transactions of the pool's own records.
type Kind string

// Entry is a document with its key.
type Entry[T any] struct {
	Key    string
	Record T
}

// Prior is a document before a change. Was is nil if the document did not exist.
type Prior struct {
	Kind Kind            `json:"kind"`
	Key  string          `json:"key"`
	Was  json.RawMessage `json:"was,omitempty"`
}

// Document decodes the document of a key into a value. The kind of the error is NotFound if
// there is none.
func (t *Tx) Document(kind Kind, key string, into any) error {
	raw := t.document(kind, key)
	if raw == nil {
		return fault.NotFound
	}
	return decode(raw, kind, key, into)
}

// PutDocument writes a document. The key must not be empty.
func (t *Tx) PutDocument(kind Kind, key string, record any) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("document %q of %s: %w", key, kind, err)
	}
	return t.setDocument(kind, key, raw)
}

// DeleteDocument deletes a document. It succeeds if there is none.
func (t *Tx) DeleteDocument(kind Kind, key string) error { return t.setDocument(kind, key, nil) }

// Documents yields the documents of a kind whose keys begin with prefix, in the
// order of their keys. An error ends it.
func Documents[T any](t *Tx, kind Kind, prefix string) iter.Seq2[Entry[T], error] {
	return func(yield func(Entry[T], error) bool) {
		for key, raw := range t.documents(kind, prefix) {
			entry := Entry[T]{Key: key}
			err := decode(raw, kind, key, &entry.Record)
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// CountDocuments returns the number of documents of a kind. It decodes none.
func (t *Tx) CountDocuments(kind Kind) (n int) {
	for range t.documents(kind, "") {
		n++
	}
	return n
}

// Journal runs f and returns the previous contents of the documents that f changed, for
// [Tx.Undo].
func (t *Tx) Journal(f func() error) ([]Prior, error) {
	t.journal = &journal{seen: map[documentKey]bool{}}
	defer func() { t.journal = nil }()
	err := f()
	return t.journal.priors, err
}

// AsOf makes t show the state at a transaction id of the pool, without a change beyond it.
// It is only for reading.
func (t *Tx) AsOf(reached uint64) error {
	last, err := t.LastTx()
	if err != nil || last <= reached {
		return err
	}
	pending, err := t.Pending()
	if err != nil {
		return err
	}
	t.hidden = last
	t.earlier = map[documentKey]json.RawMessage{}
	for _, prior := range pending.Documents {
		t.earlier[documentKey{prior.Kind, prior.Key}] = prior.Was
	}
	return nil
}

type documentKey struct {
	kind Kind
	key  string
}

// journal has the contents of documents before a change first wrote them.
type journal struct {
	seen   map[documentKey]bool
	priors []Prior
}

func (j *journal) note(kind Kind, key string, was []byte) {
	if j == nil || j.seen[documentKey{kind, key}] {
		return
	}
	j.seen[documentKey{kind, key}] = true
	j.priors = append(j.priors, Prior{Kind: kind, Key: key, Was: slices.Clone(was)})
}

func (t *Tx) kind(kind Kind) *bolt.Bucket {
	all := t.bucket(bucketDocuments)
	if all == nil {
		return nil
	}
	return all.Bucket([]byte(kind))
}

func (t *Tx) document(kind Kind, key string) []byte {
	if was, ok := t.earlier[documentKey{kind, key}]; ok {
		return was
	}
	bucket := t.kind(kind)
	if bucket == nil {
		return nil
	}
	return bucket.Get([]byte(key))
}

// setDocument writes raw, or deletes the document if raw is nil.
func (t *Tx) setDocument(kind Kind, key string, raw []byte) error {
	t.journal.note(kind, key, t.document(kind, key))
	if raw == nil {
		if bucket := t.kind(kind); bucket != nil {
			return bucket.Delete([]byte(key))
		}
		return nil
	}
	all, err := t.bolt.CreateBucketIfNotExists(bucketDocuments)
	if err != nil {
		return err
	}
	bucket, err := all.CreateBucketIfNotExists([]byte(kind))
	if err != nil {
		return fmt.Errorf("documents of kind %q: %w", kind, err)
	}
	return bucket.Put([]byte(key), raw)
}

// documents merges the bucket with the earlier contents of documents that AsOf shows.
func (t *Tx) documents(kind Kind, prefix string) iter.Seq2[string, []byte] {
	var earlier []string
	for at := range t.earlier {
		if at.kind == kind && strings.HasPrefix(at.key, prefix) {
			earlier = append(earlier, at.key)
		}
	}
	slices.Sort(earlier)
	return func(yield func(string, []byte) bool) {
		// past yields the earlier documents before key.
		past := func(key string, all bool) bool {
			for len(earlier) > 0 && (all || earlier[0] < key) {
				was := t.earlier[documentKey{kind, earlier[0]}]
				if was != nil && !yield(earlier[0], was) {
					return false
				}
				earlier = earlier[1:]
			}
			return true
		}
		if bucket := t.kind(kind); bucket != nil {
			cursor := bucket.Cursor()
			key, raw := cursor.Seek([]byte(prefix))
			for ; key != nil && strings.HasPrefix(string(key), prefix); key, raw = cursor.Next() {
				if _, replaced := t.earlier[documentKey{kind, string(key)}]; replaced {
					continue
				}
				if !past(string(key), false) || !yield(string(key), raw) {
					return
				}
			}
		}
		past("", true)
	}
}

func decode(raw []byte, kind Kind, key string, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: document %q of %s: %w", ErrCorrupt, key, kind, err)
	}
	return nil
}
