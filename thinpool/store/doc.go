// Package store is a pool's database. It keeps what the kernel does not keep, above all
// names and sizes, in one bbolt file beside the pool's data.
//
// # Words
//
// A record takes effect when the pool's transaction id reaches the record's own (Tx). The
// one Pending note of the database describes the change in progress; recovery compares it
// with the pool. A tombstone is a removed volume whose blocks are not free yet. A document
// is a record of a package above the pool; this package does not interpret it.
//
// # Caveats
//
// The command line and the daemon share the file, so it is locked only during a View or
// an Update. It stays open a little longer, and is opened again if another process has
// written to it in the meantime. Transactions of one DB run one after the other: a
// transaction inside another one waits forever.
//
// # Example
//
//	db := store.At("/var/lib/thinctl/vault/state.db")
//	err := db.Update(ctx, func(tx *store.Tx) error {
//		id, err := tx.AllocateID()
//		if err != nil {
//			return err
//		}
//		return tx.PutVolume(store.Volume{Name: "base", ID: id, Size: 10 << 30, Tx: 1})
//	})
package store
