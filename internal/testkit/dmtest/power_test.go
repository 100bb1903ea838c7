package dmtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
)

func TestPowerOff(t *testing.T) {
	k := New(Options{})
	meta, data := NewMemDisk(diskSize), NewMemDisk(diskSize)
	p := attachPool(t, k, meta, data, 64)
	p.must(p.message(p.dev, "create_thin 1"))
	p.must(p.message(p.dev, "set_transaction_id 0 4"))
	dev := p.volume(1, 32)
	for block := range uint64(4) {
		p.must(k.WriteStamp(dev, block, 100+block))
	}
	p.status() // commits
	early := meta.Clone()
	p.must(k.Discard(dev, 0, blocks(1)))
	p.must(k.WriteStamp(dev, 9, 900))
	p.mapped(dev, 4, 10)
	k.PowerOff()
	if entries, _ := k.List(p.ctx); len(entries) != 0 {
		t.Errorf("devices after a power cut: got %v, want none", entries)
	}

	p = attachPool(t, k, meta, data, 64)
	equal(p.suite, "transaction", p.status().TransactionID, 4)
	dev = p.volume(1, 32)
	p.mapped(dev, 4, 4)
	p.used(4)
	for block := uint64(1); block < 4; block++ {
		stamp(t, k, dev, block, 100+block)
	}
	stamp(t, k, dev, 9, 0)
	p.must(p.message(p.dev, "create_thin 2"))
	p.must(p.message(p.dev, "set_transaction_id 4 5"))
	k.PowerOff()

	p = attachPool(t, k, meta, data, 64)
	equal(p.suite, "transaction", p.status().TransactionID, 5)
	table := p.table

	// The copy of the metadata disk has the pool's old state, in another kernel with the
	// same store too.
	other := New(Options{Store: k.store})
	p = attachPool(t, other, early, data.Clone(), 64)
	equal(p.suite, "transaction of the copy", p.status().TransactionID, 4)
	p.wantErrno(p.message(p.dev, "delete 2"), unix.ENODATA, dm.ErrNoThinDevice)

	// In another store the pool's trees are unreadable.
	s, _ := newSuite(t, Options{})
	fixture := s.Fixture.(*MemFixture)
	table.Metadata, table.Data = fixture.Attach(meta.Clone()), fixture.Attach(data.Clone())
	s.wantErrno(s.load(s.create(s.name(), "").Dev, table), unix.EILSEQ, nil)
}

// TestStampsSurvive makes random sequences of snapshots, writes, discards, deletes and
// power cuts, and checks every stamp after each step.
func TestStampsSurvive(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &walk{
				T: t, k: New(Options{}), random: rand.New(rand.NewPCG(seed, 1)),
				meta: NewMemDisk(diskSize), data: NewMemDisk(diskSize),
				devs: map[uint32]blockdev.Number{}, now: map[uint32]stamps{},
			}
			w.pool = attachPool(t, w.k, w.meta, w.data, 100)
			for step := range 150 {
				w.step(uint64(1000 + step))
				w.check()
				if t.Failed() {
					t.Fatalf("failed at step %d", step)
				}
			}
			if v := w.k.Violations(); len(v) > 0 {
				t.Errorf("violations: got %q, want none", v)
			}
		})
	}
}

const (
	walkVolumes = 5
	walkBlocks  = 8
)

type stamps [walkBlocks]uint64

type walk struct {
	*testing.T
	k              *Kernel
	pool           *testPool
	random         *rand.Rand
	meta, data     *MemDisk
	devs           map[uint32]blockdev.Number
	now, committed map[uint32]stamps
}

func (w *walk) step(value uint64) {
	id, block := uint32(w.random.IntN(walkVolumes)), uint64(w.random.IntN(walkBlocks))
	dev, alive := w.devs[id]
	have := w.now[id]
	commits := true
	switch what := w.random.IntN(10); {
	case !alive:
		w.add(id, uint32(w.random.IntN(walkVolumes)))
	case what == 0:
		_, err := w.k.Remove(w.Context(), dm.ByDev(dev), dm.RemoveOptions{})
		w.pool.must(err)
		w.pool.must(w.pool.message(w.pool.dev, "delete %d", id))
		delete(w.devs, id)
		delete(w.now, id)
	case what == 1:
		// A discard that was passed down takes effect even if its commit is lost, so
		// the commit follows immediately.
		w.pool.must(w.k.Discard(dev, blocks(block), poolBlock))
		have[block] = 0
		w.now[id] = have
		w.pool.status()
	case what == 2:
		w.cutPower()
	case what == 3:
		w.pool.status()
	default:
		w.pool.must(w.k.WriteStamp(dev, block, value))
		have[block] = value
		w.now[id] = have
		commits = false
	}
	if commits {
		w.committed = maps.Clone(w.now)
	}
}

// add creates a snapshot if the origin exists, else an empty volume.
func (w *walk) add(id, origin uint32) {
	p := w.pool
	if from, ok := w.devs[origin]; ok {
		p.suspend(from)
		p.must(p.message(p.dev, "create_snap %d %d", id, origin))
		p.must(p.resume(from))
		w.now[id] = w.now[origin]
	} else {
		p.must(p.message(p.dev, "create_thin %d", id))
		w.now[id] = stamps{}
	}
	w.devs[id] = p.volume(id, walkBlocks)
}

// cutPower cuts the power. Then each block must have its committed content, or newer
// content if the write did not need a new data block.
func (w *walk) cutPower() {
	w.k.PowerOff()
	w.pool = attachPool(w.T, w.k, w.meta, w.data, 100)
	clear(w.devs)
	before := w.now
	w.now = map[uint32]stamps{}
	for id, want := range w.committed {
		w.devs[id] = w.pool.volume(id, walkBlocks)
		for block := range want {
			got, err := w.k.ReadStamp(w.devs[id], uint64(block))
			w.pool.must(err)
			if got != want[block] && got != before[id][block] {
				w.Errorf("block %d of volume %d: got %d, want %d or %d", block, id, got, want[block], before[id][block])
			}
			want[block] = got
		}
		w.now[id] = want
	}
}

func (w *walk) check() {
	w.Helper()
	for id, want := range w.now {
		for block, value := range want {
			stamp(w.T, w.k, w.devs[id], uint64(block), value)
		}
	}
}

func TestLostCommits(t *testing.T) {
	s, k := newSuite(t, Options{})
	under := NewMemDisk(diskSize)
	steady := dm.Flakey{Length: diskSize.Sectors(), Dev: s.Fixture.(*MemFixture).Attach(under), Up: 1}
	mapped := s.activate(steady)
	p := s.newPool(8, func(p *dm.ThinPool) { p.Metadata = mapped })
	s.must(p.message(p.dev, "create_thin 1"))

	dropping := steady
	dropping.Up, dropping.Down, dropping.DropWrites = 0, 1, true
	s.must(s.swap(mapped, dropping))
	s.must(p.message(p.dev, "create_thin 2"))
	k.PowerOff()
	p = attachPool(t, k, under, NewMemDisk(diskSize), 8)
	p.must(p.message(p.dev, "create_thin 2")) // the commit of the first one was dropped
	p.wantErrno(p.message(p.dev, "create_thin 1"), unix.EEXIST, fault.Exists)
}

func TestFailingMetadataDisk(t *testing.T) {
	s, _ := newSuite(t, Options{})
	disk := s.Disk(diskSize)
	mapped := s.activate(dm.Linear{Length: diskSize.Sectors(), Dev: disk})
	p := s.newPool(8, func(p *dm.ThinPool) { p.Metadata = mapped })
	s.must(s.swap(mapped, dm.ErrorTarget{Length: diskSize.Sectors()}))
	s.must(p.message(p.dev, "create_thin 2")) // the message succeeds although its commit fails
	equal(s, "mode", p.status().Mode, dm.ModeFail)
}

func TestForeignMetadata(t *testing.T) {
	s, _ := newSuite(t, Options{})
	for what, c := range map[string]struct {
		bytes []byte
		errno unix.Errno
	}{
		"noise":     {[]byte(strings.Repeat("noise ", 100)), unix.ENOTBLK},
		"bad magic": {append(make([]byte, 100), 1), unix.EILSEQ},
	} {
		disk := NewMemDisk(diskSize)
		if _, err := disk.WriteAt(c.bytes, 0); err != nil {
			t.Fatal(err)
		}
		table := dm.ThinPool{
			Length: blocks(8).Sectors(), Block: poolBlock.Sectors(),
			Metadata: s.Fixture.(*MemFixture).Attach(disk), Data: s.Disk(diskSize),
		}
		t.Log(what)
		s.wantErrno(s.load(s.create(s.name(), "").Dev, table), c.errno, nil)
	}
}
