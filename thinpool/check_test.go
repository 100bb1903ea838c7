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
	given func(f *fixture)
	codes []string // of all findings, sorted
	// left has the codes of the findings that a repair cannot remove, sorted.
	left []string
	// after checks the repaired pool.
	after func(f *fixture)
}

func (f *fixture) send(text string) {
	f.t.Helper()
	_, err := f.Kernel.Message(f.t.Context(), dm.ByName("thinctl-vault"), text)
	check(f.t, err)
}

func (f *fixture) baseIs(want uint64) {
	f.t.Helper()
	volume, err := f.vault.ActivateVolume(f.t.Context(), "base")
	check(f.t, err)
	if got, err := f.Kernel.ReadStamp(volume.Dev, 0); err != nil || got != want {
		f.t.Errorf("base: got value %d, %v; want %d", got, err, want)
	}
}

// cutOff stops an operation at the first step whose name begins with step.
func (f *fixture) cutOff(step string, phase thinpooltest.Phase, run func(p *thinpool.Pool) error) {
	f.t.Helper()
	for n := 1; n < 100; n++ {
		f.StopAt(n, phase)
		p, err := thinpool.Open(f.t.Context(), f.Host(), f.Root, "vault")
		if err == nil {
			err = run(p)
		}
		at, stopped := f.Restart()
		if !stopped {
			f.t.Fatalf("got no step %q: %v", step, err)
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
		{name: "nothing, inactive", given: func(f *fixture) { f.idle() }},
		{
			name: thinpool.FindIdentity, codes: []string{thinpool.FindIdentity},
			given: func(f *fixture) { f.send("set_transaction_id 1 9") },
		},
		{
			name: "identity, inactive", codes: []string{thinpool.FindIdentity},
			given: func(f *fixture) {
				restore := f.saved("state.db")
				f.add("two")
				check(f.t, f.vault.DeactivateVolume(f.t.Context(), "base"))
				_, err := f.vault.RemoveVolume(f.t.Context(), "two", thinpool.RemoveOptions{})
				check(f.t, err)
				f.add("three")
				_, err = f.vault.RemoveVolume(f.t.Context(), "three", thinpool.RemoveOptions{})
				check(f.t, err)
				restore()
			},
		},
		{
			name: thinpool.FindUnfinished, codes: []string{thinpool.FindUnfinished}, given: func(f *fixture) {
				f.cutOff("message create_thin", thinpooltest.Before, func(p *thinpool.Pool) error {
					_, err := p.CreateVolume(f.t.Context(), "half", thinpool.VolumeOptions{})
					return err
				})
			},
			after: func(f *fixture) { f.add("half") },
		},
		{
			name: "unfinished and orphan", codes: []string{thinpool.FindUnfinished}, given: func(f *fixture) {
				f.cutOff("message create_thin", thinpooltest.After, func(p *thinpool.Pool) error {
					_, err := p.CreateVolume(f.t.Context(), "half", thinpool.VolumeOptions{})
					return err
				})
			},
			after: func(f *fixture) { f.add("half") },
		},
		{
			name: "unfinished activation", codes: []string{thinpool.FindUnfinished}, given: func(f *fixture) {
				check(f.t, f.vault.DeactivateVolume(f.t.Context(), "base"))
				f.cutOff("load", thinpooltest.Before, func(p *thinpool.Pool) error {
					_, err := p.ActivateVolume(f.t.Context(), "base")
					return err
				})
			},
		},
		{
			name: "unfinished extension", codes: []string{thinpool.FindUnfinished}, given: func(f *fixture) {
				f.cutOff("refresh", thinpooltest.Before, func(p *thinpool.Pool) error {
					_, err := p.Extend(f.t.Context(), thinpool.ExtendOptions{Data: 128 * units.MiB})
					return err
				})
			},
			after: func(f *fixture) {
				if status, err := f.vault.Status(f.t.Context()); err != nil || status.Kernel.TotalData != 2048 {
					f.t.Errorf("got %d data blocks, %v", status.Kernel.TotalData, err)
				}
			},
		},
		{
			name: thinpool.FindSuspended, codes: []string{thinpool.FindSuspended}, given: func(f *fixture) {
				check(f.t, f.Kernel.Suspend(f.t.Context(), dm.ByDev(f.base.Dev), dm.SuspendOptions{}))
			},
		},
		{
			name: thinpool.FindDevice, codes: []string{thinpool.FindDevice}, given: func(f *fixture) {
				_, err := f.Kernel.Create(f.t.Context(), "stray", dm.UUID("THINCTL-"+f.vault.UUID()+"-555"))
				check(f.t, err)
			},
			after: func(f *fixture) {
				if _, err := f.Kernel.Info(f.t.Context(), dm.ByName("stray")); err == nil {
					f.t.Error("the stray device still exists")
				}
			},
		},
		{
			name: thinpool.FindOrphan, codes: []string{thinpool.FindOrphan}, given: func(f *fixture) { f.orphan(orphan, 400) },
			after: func(f *fixture) {
				adopted, err := f.vault.VolumeStatus(f.t.Context(), fmt.Sprintf("recovered-%d", orphan))
				if err != nil || adopted.ID != orphan || adopted.Size != 401*64*units.KiB {
					f.t.Errorf("got %+v, %v: base size is 16M, its highest block is 400", adopted, err)
				}
				volume, err := f.vault.ActivateVolume(f.t.Context(), adopted.Name)
				check(f.t, err)
				if got, err := f.Kernel.ReadStamp(volume.Dev, 400); err != nil || got != 7 {
					f.t.Errorf("adopted volume: got value %d, %v", got, err)
				}
			},
		},
		{
			name: "a small orphan", codes: []string{thinpool.FindOrphan}, given: func(f *fixture) { f.orphan(orphan, 3) },
			after: func(f *fixture) {
				if adopted, err := f.vault.VolumeStatus(f.t.Context(), fmt.Sprintf("recovered-%d", orphan)); err != nil || adopted.Size != 16*units.MiB {
					f.t.Errorf("got %+v, %v; want the base size", adopted, err)
				}
			},
		},
		{
			name: "an orphan, inactive", codes: []string{thinpool.FindOrphan},
			given: func(f *fixture) { f.orphan(orphan, 400); f.idle() },
			after: func(f *fixture) {
				if adopted, err := f.vault.VolumeStatus(f.t.Context(), fmt.Sprintf("recovered-%d", orphan)); err != nil || adopted.Size != 401*64*units.KiB {
					f.t.Errorf("got %+v, %v: its highest block is 400", adopted, err)
				}
			},
		},
		{
			name: thinpool.FindMissing, codes: []string{thinpool.FindMissing},
			given: func(f *fixture) { f.add("lost"); f.send("delete 2") },
			after: func(f *fixture) {
				if _, err := f.vault.VolumeStatus(f.t.Context(), "lost"); !errors.Is(err, fault.NotFound) {
					f.t.Errorf("the lost volume's record: %v", err)
				}
			},
		},
		{
			name: thinpool.FindTombstone, codes: []string{thinpool.FindTombstone}, given: func(f *fixture) {
				release, err := f.Kernel.Hold(f.base.Dev)
				check(f.t, err)
				_, err = f.vault.RemoveVolume(f.t.Context(), "base", thinpool.RemoveOptions{Deferred: true})
				check(f.t, err)
				release()
				f.add("base") // its name is free
				base, err := f.vault.ActivateVolume(f.t.Context(), "base")
				if err == nil {
					err = f.Kernel.WriteStamp(base.Dev, 0, 42)
				}
				check(f.t, err)
			},
		},
		{
			name: thinpool.FindHeldRoot, codes: []string{thinpool.FindHeldRoot}, left: []string{thinpool.FindHeldRoot},
			given: func(f *fixture) { f.send("reserve_metadata_snap") },
			after: func(f *fixture) {
				if status, err := f.vault.Status(f.t.Context()); err != nil || status.Kernel.HeldRoot == 0 {
					f.t.Errorf("another program's metadata snapshot was released: %v", err)
				}
			},
		},
		{
			name: thinpool.FindUnchecked, codes: []string{thinpool.FindUnchecked}, left: []string{thinpool.FindUnchecked},
			given: func(f *fixture) { f.damage(metadata.SuperblockBlock) }, // of the held root
			after: func(f *fixture) { f.notHeld() },
		},
		{
			name: thinpool.FindMode, codes: []string{thinpool.FindMode}, left: []string{thinpool.FindMode}, given: func(f *fixture) {
				dev, err := f.Kernel.Info(f.t.Context(), dm.ByName("thinctl-vault"))
				check(f.t, err)
				check(f.t, f.Kernel.FailPool(dev.Dev))
			},
			after: func(f *fixture) { f.idle(); check(f.t, f.vault.Activate(f.t.Context())) },
		},
		{
			name: thinpool.FindNeedsCheck, codes: []string{thinpool.FindNeedsCheck}, left: []string{thinpool.FindNeedsCheck},
			given: func(f *fixture) { f.needsCheck() }, // active: no repair is allowed yet
			after: func(f *fixture) {
				f.idle()
				f.repaired()
				check(f.t, f.vault.Activate(f.t.Context()))
			},
		},
		{
			name: "needs-check, inactive", codes: []string{thinpool.FindNeedsCheck}, given: func(f *fixture) { f.needsCheck(); f.idle() },
			after: func(f *fixture) { check(f.t, f.vault.Activate(f.t.Context())) },
		},
		{
			name: thinpool.FindMetadata, codes: []string{thinpool.FindMetadata}, given: func(f *fixture) {
				f.idle()
				f.damage(metadata.NodeBlock)
			},
			after: func(f *fixture) {
				delete(f.Damage, f.file("metadata"))
				kept, err := os.ReadDir(f.vault.Dir())
				check(f.t, err)
				if !slices.ContainsFunc(kept, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "metadata.damaged-") }) {
					f.t.Errorf("no damaged copy was kept: %v", kept)
				}
				check(f.t, f.vault.Activate(f.t.Context()))
			},
		},
	}
}

// damage corrupts each block of a kind when it is read, except for the superblock.
func (f *fixture) damage(kind metadata.BlockKind) {
	f.Damage[f.file("metadata")] = func(block uint64, b []byte) {
		if block != 0 && metadata.KindOf(b) == kind {
			b[100] ^= 1
		}
	}
}

// records returns all records of the pool's database.
func (f *fixture) records() string {
	f.t.Helper()
	var all []any
	add := func(record any, err error) {
		if !errors.Is(err, fault.NotFound) {
			check(f.t, err)
			all = append(all, record)
		}
	}
	check(f.t, store.At(f.file("state.db")).View(f.t.Context(), func(tx *store.Tx) error {
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
func (f *fixture) notHeld() {
	f.t.Helper()
	status, err := f.vault.Status(f.t.Context())
	check(f.t, err)
	if status.Kernel.HeldRoot != 0 {
		f.t.Errorf("got a metadata snapshot at block %d, want none", status.Kernel.HeldRoot)
	}
}

// orphan makes a thin device that is not in the database, with one written block.
func (f *fixture) orphan(id uint32, block uint64) {
	f.t.Helper()
	ctx := f.t.Context()
	pool, err := f.Kernel.Info(ctx, dm.ByName("thinctl-vault"))
	check(f.t, err)
	f.send(fmt.Sprintf("create_thin %d", id))
	made, err := f.Kernel.Create(ctx, "other-program", "")
	check(f.t, err)
	table := dm.Thin{Length: units.GiB.Sectors(), Pool: pool.Dev, ID: id}
	check(f.t, f.Kernel.Load(ctx, dm.ByDev(made.Dev), []dm.Target{table}, dm.LoadOptions{}))
	_, err = f.Kernel.Resume(ctx, dm.ByDev(made.Dev), dm.ResumeOptions{})
	check(f.t, err)
	check(f.t, f.Kernel.WriteStamp(made.Dev, block, 7))
	_, err = f.Kernel.Remove(ctx, dm.ByDev(made.Dev), dm.RemoveOptions{})
	check(f.t, err)
}

func (f *fixture) needsCheck() {
	f.t.Helper()
	pool, err := f.Kernel.Info(f.t.Context(), dm.ByName("thinctl-vault"))
	check(f.t, err)
	check(f.t, f.Kernel.FailMetadata(pool.Dev))
}

func (f *fixture) repaired() thinpool.Repair {
	f.t.Helper()
	repair, err := f.vault.Repair(f.t.Context(), thinpool.RepairOptions{})
	check(f.t, err)
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
			f := newFixture(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			_, _, err := f.Kernel.Status(ctx, dm.ByName("thinctl-vault"), dm.StatusOptions{}) // a flush
			check(t, err)
			f.vault, err = thinpool.Open(ctx, f.host, f.Root, "vault")
			check(t, err)
			c.given(f)
			f.vault, err = thinpool.Open(ctx, f.host, f.Root, "vault")
			check(t, err)

			report, err := f.vault.Check(ctx)
			check(t, err)
			for _, finding := range report.Findings {
				t.Logf("%+v", finding)
				if finding.Object == "" || finding.Detail == "" || finding.Remedy == "" && finding.Cure == nil && finding.Code != thinpool.FindUnchecked {
					t.Errorf("%s: got a finding without object, detail or remedy", finding.Code)
				}
			}
			if got := codes(report.Findings); !slices.Equal(got, c.codes) {
				t.Fatalf("got findings %q, want %q", got, c.codes)
			}
			before, records := f.hostState(), f.records()
			plan, err := f.vault.Repair(ctx, thinpool.RepairOptions{DryRun: true})
			check(t, err)
			after := f.hostState()
			if report.Active { // reading commits the metadata and writes the note of a reading
				for _, name := range []string{"metadata", "state.db"} {
					delete(before.Files, f.file(name))
					delete(after.Files, f.file(name))
				}
			}
			if now := f.records(); now != records {
				t.Errorf("dry run: got database %s, want %s", now, records)
			}
			for _, fault := range after.differences(before) {
				t.Error("dry run: ", fault)
			}
			repair := f.repaired()
			t.Logf("%+v", repair)
			if !slices.Equal(plan.Actions, repair.Actions) && len(plan.Actions) != len(repair.Actions) {
				t.Errorf("got actions %q, want those of the plan %q", repair.Actions, plan.Actions)
			}
			if got := codes(repair.Left); !slices.Equal(got, c.left) {
				t.Errorf("got findings left %q, want %q", got, c.left)
			}
			if c.after != nil {
				c.after(f)
			}
			if len(c.left) > 0 {
				return
			}
			if report, err = f.vault.Check(ctx); err != nil || len(report.Findings) > 0 {
				t.Errorf("after the repair: got findings %+v, %v; want none", report.Findings, err)
			}
			if err := f.vault.Activate(ctx); err != nil {
				t.Error(err)
			}
			f.baseIs(42)
		})
	}
}
