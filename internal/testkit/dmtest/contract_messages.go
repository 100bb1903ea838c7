package dmtest

import (
	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
)

// messageContract: what pools are told, and what they answer.
func messageContract() map[string]func(*bench) {
	return map[string]func(*bench){
		"refused messages": func(b *bench) {
			p := b.newPool(8, nil)
			active := p.addThin(1, 8)
			b.must(p.message(p.dev, "create_thin 2"))
			for _, c := range []struct {
				text  string
				errno unix.Errno
				kind  error
			}{
				{"create_thin 1", unix.EEXIST, fault.Exists},
				{"create_snap 2 1", unix.EEXIST, fault.Exists},
				{"create_snap 3 9", unix.ENODATA, dm.ErrNoThinDevice},
				{"delete 9", unix.ENODATA, dm.ErrNoThinDevice},
				{"delete 1", unix.EBUSY, fault.Busy},
				{"set_transaction_id 5 6", unix.EINVAL, nil},
				{"release_metadata_snap", unix.EINVAL, nil},
				{"create_thin", unix.EINVAL, nil},
				{"create_thin 3 4", unix.EINVAL, nil},
				{"create_thin three", unix.EINVAL, nil},
				{"create_thin 16777216", unix.EINVAL, nil},
				{"create_snap 3", unix.EINVAL, nil},
				{"create_snap 16777216 2", unix.EINVAL, nil},
				{"delete 16777216", unix.EINVAL, nil},
				{"set_transaction_id 0", unix.EINVAL, nil},
				{"reserve_metadata_snap now", unix.EINVAL, nil},
				{"dmtest_message 1", unix.EINVAL, nil},
			} {
				b.Log(c.text)
				b.refused(p.message(p.dev, "%s", c.text), c.errno, c.kind)
			}
			b.refused(b.message(active, "create_thin 5"), unix.EINVAL, nil)
			equal(b, "transaction", p.status().TransactionID, 0)
		},
		"create and delete": func(b *bench) {
			p := b.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.mapped(dev, 0, 0)
			p.fill(dev, 2, 4)
			p.mapped(dev, 2, 4)
			p.used(2)
			_, err := b.k.Remove(b.ctx, dm.ByDev(dev), dm.RemoveOptions{})
			b.must(err)
			b.must(p.message(p.dev, "delete 1"))
			p.used(0)
			b.must(p.message(p.dev, "create_thin 1"))
		},
		"an inactive table holds its thin": func(b *bench) {
			p := b.newPool(8, nil)
			b.must(p.message(p.dev, "create_thin 1"))
			dev := b.create(b.name(), "").Dev
			b.must(b.load(dev, dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1}))
			b.refused(p.message(p.dev, "delete 1"), unix.EBUSY, fault.Busy)
			b.must(b.k.Clear(b.ctx, dm.ByDev(dev)))
			b.must(p.message(p.dev, "delete 1"))
		},
		"transaction id": func(b *bench) {
			p := b.newPool(8, nil)
			b.must(p.message(p.dev, "set_transaction_id 0 7"))
			equal(b, "id", p.status().TransactionID, 7)
			equal(b, "id without a commit", p.statusWith(dm.StatusOptions{NoFlush: true}).TransactionID, 7)
			b.refused(p.message(p.dev, "set_transaction_id 0 8"), unix.EINVAL, nil)
			b.must(p.message(p.dev, "set_transaction_id 7 3"))
			equal(b, "id", p.status().TransactionID, 3)
		},
		"metadata snapshot": func(b *bench) {
			p := b.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.fill(dev, 0, 2)
			equal(b, "held", p.status().HeldRoot, 0)
			b.must(p.message(p.dev, "reserve_metadata_snap"))
			if p.status().HeldRoot == 0 {
				b.Error("a metadata snapshot is held, but the status shows none")
			}
			b.refused(p.message(p.dev, "reserve_metadata_snap"), unix.EBUSY, fault.Busy)
			b.must(p.message(p.dev, "release_metadata_snap"))
			equal(b, "held", p.status().HeldRoot, 0)
		},
		"a metadata snapshot keeps blocks": func(b *bench) {
			p := b.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.fill(dev, 0, 2)
			b.must(p.message(p.dev, "reserve_metadata_snap"))
			b.must(b.Discard(dev, 0, blocks(2)))
			p.mapped(dev, 0, 0)
			p.used(2)
			b.must(p.message(p.dev, "release_metadata_snap"))
			p.used(0)
		},
		"a suspended pool takes messages": func(b *bench) {
			p := b.newPool(8, nil)
			b.suspend(p.dev)
			b.must(p.message(p.dev, "create_thin 1"))
			b.must(b.resume(p.dev))
			p.activateThin(1, 8)
		},
		"a read-only pool refuses messages": func(b *bench) {
			p := b.newPool(8, nil)
			readOnly := p.table
			readOnly.ReadOnly = true
			b.must(b.swap(p.dev, readOnly))
			b.same(p.dev, readOnly)
			equal(b, "mode", p.status().Mode, dm.ModeReadOnly)
			b.refused(p.message(p.dev, "create_thin 1"), unix.EOPNOTSUPP, fault.Unhealthy)
			b.must(b.swap(p.dev, p.table))
			equal(b, "mode", p.status().Mode, dm.ModeWrite)
			b.must(p.message(p.dev, "create_thin 1"))
		},
	}
}
