package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"thinctl/fault"

	bolt "go.etcd.io/bbolt"
)

// Copy returns the whole database at one moment, compressed by gzip. The checksum of
// gzip detects damage that bbolt does not detect.
func (d *DB) Copy(ctx context.Context) ([]byte, error) {
	var b bytes.Buffer
	changed := d.changed.Swap(false)
	err := d.transact(ctx, false, func(tx *bolt.Tx) error {
		b.Reset()
		w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			return err
		}
		w.Comment = commentOf(tx)
		if _, err := tx.WriteTo(w); err != nil {
			return err
		}
		return w.Close()
	})
	if err != nil {
		if changed {
			d.changed.Store(true)
		}
		return nil, err
	}
	return b.Bytes(), nil
}

// Changed reports whether this DB has changed the database since its last Copy.
func (d *DB) Changed() bool { return d.changed.Load() }

// commentOf returns the comment for the header of a copy, which can be read without
// expanding the copy.
func commentOf(tx *bolt.Tx) string { return fmt.Sprintf("bbolt transaction %d", tx.ID()) }

// IsNewest reports whether the copy in r is of the newest transaction. It returns false
// for a copy that cannot be read.
func (d *DB) IsNewest(ctx context.Context, r io.Reader) (newest bool, err error) {
	header, broken := gzip.NewReader(r)
	if broken != nil {
		return false, nil
	}
	err = d.transact(ctx, false, func(tx *bolt.Tx) error {
		newest = header.Comment == commentOf(tx)
		return nil
	})
	return newest, err
}

// Expand returns the content of the database file in a copy. The error is ErrCorrupt if
// the copy is damaged.
func Expand(compressed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	content, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return content, nil
}

// Verify reads every record. It returns the error of the first one that cannot be read.
func (d *DB) Verify(ctx context.Context) error {
	return d.View(ctx, func(tx *Tx) error {
		if _, err := tx.Pool(); err != nil {
			if errors.Is(err, fault.NotFound) {
				return fmt.Errorf("%w: it has no record of the pool", ErrCorrupt)
			}
			return err
		}
		if _, err := tx.LastTx(); err != nil {
			return err
		}
		if _, err := tx.Pending(); err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		for _, err := range tx.Volumes() {
			if err != nil {
				return err
			}
		}
		for _, err := range tx.Tombstones() {
			if err != nil {
				return err
			}
		}
		return tx.verifyDocuments()
	})
}

func (t *Tx) verifyDocuments() error {
	all := t.bucket(bucketDocuments)
	if all == nil {
		return nil
	}
	return all.ForEachBucket(func(kind []byte) error {
		return all.Bucket(kind).ForEach(func(key, raw []byte) error {
			if !json.Valid(raw) {
				return fmt.Errorf("%w: document %q of %s is not valid JSON", ErrCorrupt, key, kind)
			}
			return nil
		})
	})
}
