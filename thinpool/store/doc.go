// Package store is a pool's database: what the kernel does not keep, names and
// sizes above all, in one bbolt file beside the pool's data.
//
// # Words
//
// A record counts once the pool's transaction id has reached the record's own
// (Tx). A change in flight is the one Pending note of the database; recovery
// compares it with the pool. A tombstone is a volume that is gone for its user
// while its blocks are not yet given back. A document is a record of a package above
// the pool, whose meaning this one does not know.
//
// # Caveats
//
// The command line and the daemon share the file: it is locked only for the
// length of one View or Update. It stays open a little longer, and is opened
// anew where another process has written meanwhile. Transactions of one DB run
// one after the other; one inside another never ends.
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
