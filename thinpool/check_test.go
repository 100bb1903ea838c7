package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// checkCase is a defect of a pool that Check must find.
type checkCase struct {
	name  string
	given func(s *fixture)
	codes []string // of all findings, sorted
	// left has the codes of the findings that a repair cannot remove, sorted.
	left []string
	// after checks the repaired pool.
	after func(s *fixture)
}

func (s *fixture) send(text string) {
	s.t.Helper()
	_, err := s.Kernel.Message(s.t.Context(), dm.ByName("thinctl-vault"), text)
	check(s.t, err)
}

func (s *fixture) baseIs(want uint64) {
	s.t.Helper()
	volume, err := s.vault.ActivateVolume(s.t.Context(), "base")
	check(s.t, err)
	if got, err := s.Kernel.ReadStamp(volume.Dev, 0); err != nil || got != want {
		s.t.Errorf("base: got value %d, %v; want %d", got, err, want)
	}
}

// cutOff stops an operation at the first step whose name begins with step.
func (s *fixture) cutOff(step string, phase thinpooltest.Phase, run func(p *thinpool.Pool) error) {
	s.t.Helper()
	for n := 1; n < 100; n++ {
		s.StopAt(n, phase)
		p, err := thinpool.Open(s.t.Context(), s.Host(), s.Root, "vault")
		if err == nil {
			err = run(p)
		}
		at, stopped := s.Restart()
		if !stopped {
			s.t.Fatalf("got no step %q: %v", step, err)
		}
		if strings.HasPrefix(at, step) {
			return
		}
	}
}

func checkCases() []checkCase {
	const orphan = 777
	return []checkCase{
		{name: "nothing", given: func(*fixture) {}},
		{name: "nothing, inactive", given: func(s *fixture) { s.idle() }},
		{
			name: thinpool.FindIdentity, codes: []string{thinpool.FindIdentity},
			given: func(s *fixture) { s.send("set_transaction_id 1 9") },
		},
		{
			name: "identity, inactive", codes: []string{thinpool.FindIdentity},
			given: func(s *fixture) {
				restore := s.saved("state.db")
				s.add("two")
				check(s.t, s.vault.DeactivateVolume(s.t.Context(), "base"))
				_, err := s.vault.RemoveVolume(s.t.Context(), "two", thinpool.RemoveOptions{})
				check(s.t, err)
				s.add("three")
				_, err = s.vault.RemoveVolume(s.t.Context(), "three", thinpool.RemoveOptions{})
				check(s.t, err)
				restore()
			},
		},
		{
			name: thinpool.FindUnfinished, codes: []string{thinpool.FindUnfinished}, given: func(s *fixture) {
				s.cutOff("message create_thin", thinpooltest.Before, func(p *thinpool.Pool) error {
					_, err := p.CreateVolume(s.t.Context(), "half", thinpool.VolumeOptions{})
					return err
				})
			},
			after: func(s *fixture) { s.add("half") },
		},
		{
			name: "unfinished and orphan", codes: []string{thinpool.FindUnfinished}, given: func(s *fixture) {
				s.cutOff("message create_thin", thinpooltest.After, func(p *thinpool.Pool) error {
					_, err := p.CreateVolume(s.t.Context(), "half", thinpool.VolumeOptions{})
					return err
				})
			},
			after: func(s *fixture) { s.add("half") },
		},
		{
			name: "unfinished activation", codes: []string{thinpool.FindUnfinished}, given: func(s *fixture) {
				check(s.t, s.vault.DeactivateVolume(s.t.Context(), "base"))
				s.cutOff("load", thinpooltest.Before, func(p *thinpool.Pool) error {
					_, err := p.ActivateVolume(s.t.Context(), "base")
					return err
				})
			},
		},
		{
			name: "unfinished extension", codes: []string{thinpool.FindUnfinished}, given: func(s *fixture) {
				s.cutOff("refresh", thinpooltest.Before, func(p *thinpool.Pool) error {
					_, err := p.Extend(s.t.Context(), thinpool.ExtendOptions{Data: 128 * units.MiB})
					return err
				})
			},
			after: func(s *fixture) {
				if status, err := s.vault.Status(s.t.Context()); err != nil || status.Kernel.TotalData != 2048 {
					s.t.Errorf("%d data blocks, %v", status.Kernel.TotalData, err)
				}
			},
		},
		{
			name: thinpool.FindSuspended, codes: []string{thinpool.FindSuspended}, given: func(s *fixture) {
				check(s.t, s.Kernel.Suspend(s.t.Context(), dm.ByDev(s.base.Dev), dm.SuspendOptions{}))
			},
		},
		{
			name: thinpool.FindDevice, codes: []string{thinpool.FindDevice}, given: func(s *fixture) {
				_, err := s.Kernel.Create(s.t.Context(), "stray", dm.UUID("THINCTL-"+s.vault.UUID()+"-555"))
				check(s.t, err)
			},
			after: func(s *fixture) {
				if _, err := s.Kernel.Info(s.t.Context(), dm.ByName("stray")); err == nil {
					s.t.Error("the stray device still exists")
				}
			},
		},
		{
			name: thinpool.FindOrphan, codes: []string{thinpool.FindOrphan}, given: func(s *fixture) { s.orphan(orphan, 400) },
			after: func(s *fixture) {
				adopted, err := s.vault.VolumeStatus(s.t.Context(), fmt.Sprintf("recovered-%d", orphan))
				if err != nil || adopted.ID != orphan || adopted.Size != 401*64*units.KiB {
					s.t.Errorf("%+v, %v: base size is 16M, its highest block is 400", adopted, err)
				}
				volume, err := s.vault.ActivateVolume(s.t.Context(), adopted.Name)
				check(s.t, err)
				if got, err := s.Kernel.ReadStamp(volume.Dev, 400); err != nil || got != 7 {
					s.t.Errorf("adopted volume: got value %d, %v", got, err)
				}
			},
		},
		{
			name: "a small orphan", codes: []string{thinpool.FindOrphan}, given: func(s *fixture) { s.orphan(orphan, 3) },
			after: func(s *fixture) {
				if adopted, err := s.vault.VolumeStatus(s.t.Context(), fmt.Sprintf("recovered-%d", orphan)); err != nil || adopted.Size != 16*units.MiB {
					s.t.Errorf("%+v, %v: want the base size", adopted, err)
				}
			},
		},
		{
			name: "an orphan, inactive", codes: []string{thinpool.FindOrphan},
			given: func(s *fixture) { s.orphan(orphan, 400); s.idle() },
			after: func(s *fixture) {
				if adopted, err := s.vault.VolumeStatus(s.t.Context(), fmt.Sprintf("recovered-%d", orphan)); err != nil || adopted.Size != 401*64*units.KiB {
					s.t.Errorf("%+v, %v: its highest block is 400", adopted, err)
				}
			},
		},
		{
			name: thinpool.FindMissing, codes: []string{thinpool.FindMissing},
			given: func(s *fixture) { s.add("lost"); s.send("delete 2") },
			after: func(s *fixture) {
				if _, err := s.vault.VolumeStatus(s.t.Context(), "lost"); !errors.Is(err, fault.NotFound) {
					s.t.Errorf("the lost volume's record: %v", err)
				}
			},
		},
		{
			name: thinpool.FindTombstone, codes: []string{thinpool.FindTombstone}, given: func(s *fixture) {
				release, err := s.Kernel.Hold(s.base.Dev)
				check(s.t, err)
				_, err = s.vault.RemoveVolume(s.t.Context(), "base", thinpool.RemoveOptions{Deferred: true})
				check(s.t, err)
				release()
				s.add("base") // its name is free
				base, err := s.vault.ActivateVolume(s.t.Context(), "base")
				if err == nil {
					err = s.Kernel.WriteStamp(base.Dev, 0, 42)
				}
				check(s.t, err)
			},
		},
		{
			name: thinpool.FindHeldRoot, codes: []string{thinpool.FindHeldRoot}, left: []string{thinpool.FindHeldRoot},
			given: func(s *fixture) { s.send("reserve_metadata_snap") },
			after: func(s *fixture) {
				if status, err := s.vault.Status(s.t.Context()); err != nil || status.Kernel.HeldRoot == 0 {
					s.t.Errorf("another program's metadata snapshot was released: %v", err)
				}
			},
		},
		{
			name: thinpool.FindUnchecked, codes: []string{thinpool.FindUnchecked}, left: []string{thinpool.FindUnchecked},
			given: func(s *fixture) { s.damage(metadata.SuperblockBlock) }, // of the held root
			after: func(s *fixture) { s.notHeld() },
		},
		{
			name: thinpool.FindMode, codes: []string{thinpool.FindMode}, left: []string{thinpool.FindMode}, given: func(s *fixture) {
				dev, err := s.Kernel.Info(s.t.Context(), dm.ByName("thinctl-vault"))
				check(s.t, err)
				check(s.t, s.Kernel.FailPool(dev.Dev))
			},
			after: func(s *fixture) { s.idle(); check(s.t, s.vault.Activate(s.t.Context())) },
		},
		{
			name: thinpool.FindNeedsCheck, codes: []string{thinpool.FindNeedsCheck}, left: []string{thinpool.FindNeedsCheck},
			given: func(s *fixture) { s.needsCheck() }, // active: no repair is allowed yet
			after: func(s *fixture) {
				s.idle()
				s.repaired()
				check(s.t, s.vault.Activate(s.t.Context()))
			},
		},
		{
			name: "needs-check, inactive", codes: []string{thinpool.FindNeedsCheck}, given: func(s *fixture) { s.needsCheck(); s.idle() },
			after: func(s *fixture) { check(s.t, s.vault.Activate(s.t.Context())) },
		},
		{
			name: thinpool.FindMetadata, codes: []string{thinpool.FindMetadata}, given: func(s *fixture) {
				s.idle()
				s.damage(metadata.NodeBlock)
			},
			after: func(s *fixture) {
				delete(s.Damage, s.file("metadata"))
				kept, err := os.ReadDir(s.vault.Dir())
				check(s.t, err)
				if !slices.ContainsFunc(kept, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "metadata.damaged-") }) {
					s.t.Errorf("no damaged copy was kept: %v", kept)
				}
				check(s.t, s.vault.Activate(s.t.Context()))
			},
		},
	}
}

// damage corrupts each block of a kind when it is read, except for the superblock.
func (s *fixture) damage(kind metadata.BlockKind) {
	s.Damage[s.file("metadata")] = func(block uint64, b []byte) {
		if block != 0 && metadata.KindOf(b) == kind {
			b[100] ^= 1
		}
	}
}

// records returns all records of the pool's database.
func (s *fixture) records() string {
	s.t.Helper()
	var all []any
	add := func(record any, err error) {
		if !errors.Is(err, fault.NotFound) {
			check(s.t, err)
			all = append(all, record)
		}
	}
	check(s.t, store.At(s.file("state.db")).View(s.t.Context(), func(tx *store.Tx) error {
		add(tx.Pool())
		add(tx.LastTx())
		add(tx.Pending())
		add(tx.Reading())
		for volume, err := range tx.Volumes() {
			add(volume, err)
		}
		for tombstone, err := range tx.Tombstones() {
			add(tombstone, err)
		}
		return nil
	}))
	return fmt.Sprintf("%+v", all)
}

// notHeld checks that no metadata snapshot is held.
func (s *fixture) notHeld() {
	s.t.Helper()
	status, err := s.vault.Status(s.t.Context())
	check(s.t, err)
	if status.Kernel.HeldRoot != 0 {
		s.t.Errorf("got a metadata snapshot at block %d, want none", status.Kernel.HeldRoot)
	}
}

// orphan makes a thin device that is not in the database, with one written block.
func (s *fixture) orphan(id uint32, block uint64) {
	s.t.Helper()
	ctx := s.t.Context()
	pool, err := s.Kernel.Info(ctx, dm.ByName("thinctl-vault"))
	check(s.t, err)
	s.send(fmt.Sprintf("create_thin %d", id))
	made, err := s.Kernel.Create(ctx, "other-program", "")
	check(s.t, err)
	table := dm.Thin{Length: units.GiB.Sectors(), Pool: pool.Dev, ID: id}
	check(s.t, s.Kernel.Load(ctx, dm.ByDev(made.Dev), []dm.Target{table}, dm.LoadOptions{}))
	_, err = s.Kernel.Resume(ctx, dm.ByDev(made.Dev), dm.ResumeOptions{})
	check(s.t, err)
	check(s.t, s.Kernel.WriteStamp(made.Dev, block, 7))
	_, err = s.Kernel.Remove(ctx, dm.ByDev(made.Dev), dm.RemoveOptions{})
	check(s.t, err)
}

func (s *fixture) needsCheck() {
	s.t.Helper()
	pool, err := s.Kernel.Info(s.t.Context(), dm.ByName("thinctl-vault"))
	check(s.t, err)
	check(s.t, s.Kernel.FailMetadata(pool.Dev))
}

func (s *fixture) repaired() thinpool.Repair {
	s.t.Helper()
	repair, err := s.vault.Repair(s.t.Context(), thinpool.RepairOptions{})
	check(s.t, err)
	return repair
}

func codes(findings []thinpool.Finding) []string {
	var all []string
	for _, finding := range findings {
		all = append(all, finding.Code)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestCheckAndRepair checks that each defect is reported by its code, and that a dry run
// changes nothing. A repair must fix what it may, and report the rest.
func TestCheckAndRepair(t *testing.T) {
	for _, c := range checkCases() {
		t.Run(c.name, func(t *testing.T) {
			s := newFixture(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			_, _, err := s.Kernel.Status(ctx, dm.ByName("thinctl-vault"), dm.StatusOptions{}) // a flush
			check(t, err)
			s.vault, err = thinpool.Open(ctx, s.host, s.Root, "vault")
			check(t, err)
			c.given(s)
			s.vault, err = thinpool.Open(ctx, s.host, s.Root, "vault")
			check(t, err)

			report, err := s.vault.Check(ctx)
			check(t, err)
			for _, finding := range report.Findings {
				t.Logf("%+v", finding)
				if finding.Object == "" || finding.Detail == "" || finding.Remedy == "" && finding.Code != thinpool.FindUnchecked {
					t.Errorf("%s: got a finding without object, detail or remedy", finding.Code)
				}
			}
			if got := codes(report.Findings); !slices.Equal(got, c.codes) {
				t.Fatalf("got findings %q, want %q", got, c.codes)
			}
			before, records := s.hostState(), s.records()
			plan, err := s.vault.Repair(ctx, thinpool.RepairOptions{DryRun: true})
			check(t, err)
			after := s.hostState()
			if report.Active { // reading commits the metadata and writes the note of a reading
				for _, name := range []string{"metadata", "state.db"} {
					delete(before.Files, s.file(name))
					delete(after.Files, s.file(name))
				}
			}
			if now := s.records(); now != records {
				t.Errorf("dry run: got database %s, want %s", now, records)
			}
			for _, fault := range after.differences(before) {
				t.Error("dry run: ", fault)
			}
			repair := s.repaired()
			t.Logf("%+v", repair)
			if !slices.Equal(plan.Actions, repair.Actions) && len(plan.Actions) != len(repair.Actions) {
				t.Errorf("got actions %q, want those of the plan %q", repair.Actions, plan.Actions)
			}
			if got := codes(repair.Left); !slices.Equal(got, c.left) {
				t.Errorf("got findings left %q, want %q", got, c.left)
			}
			if c.after != nil {
				c.after(s)
			}
			if len(c.left) > 0 {
				return
			}
			if report, err = s.vault.Check(ctx); err != nil || len(report.Findings) > 0 {
				t.Errorf("after the repair: got findings %+v, %v; want none", report.Findings, err)
			}
			if err := s.vault.Activate(ctx); err != nil {
				t.Error(err)
			}
			s.baseIs(42)
		})
	}
}
