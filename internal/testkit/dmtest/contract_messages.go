package dmtest

import (
	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
)

// messageContract tests the messages to pools.
func messageContract() map[string]func(*suite) {
	return map[string]func(*suite){
		"invalid messages": func(s *suite) {
			p := s.newPool(8, nil)
			active := p.addThin(1, 8)
			s.must(p.message(p.dev, "create_thin 2"))
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
				s.Log(c.text)
				s.wantErrno(p.message(p.dev, "%s", c.text), c.errno, c.kind)
			}
			s.wantErrno(s.message(active, "create_thin 5"), unix.EINVAL, nil)
			equal(s, "transaction", p.status().TransactionID, 0)
		},
		"create and delete": func(s *suite) {
			p := s.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.mapped(dev, 0, 0)
			p.fill(dev, 2, 4)
			p.mapped(dev, 2, 4)
			p.used(2)
			_, err := s.k.Remove(s.ctx, dm.ByDev(dev), dm.RemoveOptions{})
			s.must(err)
			s.must(p.message(p.dev, "delete 1"))
			p.used(0)
			s.must(p.message(p.dev, "create_thin 1"))
		},
		"an inactive table keeps its thin volume open": func(s *suite) {
			p := s.newPool(8, nil)
			s.must(p.message(p.dev, "create_thin 1"))
			dev := s.create(s.name(), "").Dev
			s.must(s.load(dev, dm.Thin{Length: oneMiB, Pool: p.dev, ID: 1}))
			s.wantErrno(p.message(p.dev, "delete 1"), unix.EBUSY, fault.Busy)
			s.must(s.k.Clear(s.ctx, dm.ByDev(dev)))
			s.must(p.message(p.dev, "delete 1"))
		},
		"transaction id": func(s *suite) {
			p := s.newPool(8, nil)
			s.must(p.message(p.dev, "set_transaction_id 0 7"))
			equal(s, "id", p.status().TransactionID, 7)
			equal(s, "id without a commit", p.statusWith(dm.StatusOptions{NoFlush: true}).TransactionID, 7)
			s.wantErrno(p.message(p.dev, "set_transaction_id 0 8"), unix.EINVAL, nil)
			s.must(p.message(p.dev, "set_transaction_id 7 3"))
			equal(s, "id", p.status().TransactionID, 3)
		},
		"metadata snapshot": func(s *suite) {
			p := s.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.fill(dev, 0, 2)
			equal(s, "held", p.status().HeldRoot, 0)
			s.must(p.message(p.dev, "reserve_metadata_snap"))
			if p.status().HeldRoot == 0 {
				s.Error("held root in the status: got 0, want a block number")
			}
			s.wantErrno(p.message(p.dev, "reserve_metadata_snap"), unix.EBUSY, fault.Busy)
			s.must(p.message(p.dev, "release_metadata_snap"))
			equal(s, "held", p.status().HeldRoot, 0)
		},
		"a metadata snapshot keeps blocks": func(s *suite) {
			p := s.newPool(8, nil)
			dev := p.addThin(1, 8)
			p.fill(dev, 0, 2)
			s.must(p.message(p.dev, "reserve_metadata_snap"))
			s.must(s.Discard(dev, 0, blocks(2)))
			p.mapped(dev, 0, 0)
			p.used(2)
			s.must(p.message(p.dev, "release_metadata_snap"))
			p.used(0)
		},
		"a suspended pool accepts messages": func(s *suite) {
			p := s.newPool(8, nil)
			s.suspend(p.dev)
			s.must(p.message(p.dev, "create_thin 1"))
			s.must(s.resume(p.dev))
			p.activateThin(1, 8)
		},
		"a read-only pool rejects messages": func(s *suite) {
			p := s.newPool(8, nil)
			readOnly := p.table
			readOnly.ReadOnly = true
			s.must(s.swap(p.dev, readOnly))
			s.same(p.dev, readOnly)
			equal(s, "mode", p.status().Mode, dm.ModeReadOnly)
			s.wantErrno(p.message(p.dev, "create_thin 1"), unix.EOPNOTSUPP, fault.Unhealthy)
			s.must(s.swap(p.dev, p.table))
			equal(s, "mode", p.status().Mode, dm.ModeWrite)
			s.must(p.message(p.dev, "create_thin 1"))
		},
	}
}
