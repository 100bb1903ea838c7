package thinpool_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/filelock"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/thinpool/store"
	"thinctl/units"
)

func nothing(*thinpool.Reading) error { return nil }

func (f *fixture) heldRoot() uint64 {
	f.t.Helper()
	status, err := f.vault.Status(f.t.Context())
	check(f.t, err)
	return status.Kernel.HeldRoot
}

// noted reports whether the database has the note of a reading.
func (f *fixture) noted() bool {
	f.t.Helper()
	err := store.At(f.file("state.db")).View(f.t.Context(), func(tx *store.Tx) error { _, err := tx.Reading(); return err })
	if errors.Is(err, fault.NotFound) {
		return false
	}
	check(f.t, err)
	return true
}

func (f *fixture) clean() {
	f.t.Helper()
	if block := f.heldRoot(); block != 0 {
		f.t.Errorf("got a metadata snapshot at block %d, want none", block)
	}
	if f.noted() {
		f.t.Error("the note of a reading is left")
	}
}

func wantError(t *testing.T, err error, kinds []error, words ...string) {
	t.Helper()
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			t.Errorf("got error %v, want %v", err, kind)
		}
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, want it to contain %q", err, word)
		}
	}
}

// wantCure checks that an error, or one that it wraps, has a cure.
func wantCure(t *testing.T, err error, code thinpool.CureCode) {
	t.Helper()
	var found []thinpool.Cure
	var walk func(error)
	walk = func(err error) {
		if own, is := err.(*thinpool.Error); is && own.Cure != nil { //nolint:errorlint // walk visits each error
			found = append(found, own.Cure.(thinpool.Cure))
		}
		switch e := err.(type) { //nolint:errorlint // walk visits each error
		case interface{ Unwrap() []error }:
			for _, cause := range e.Unwrap() {
				walk(cause)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	if !slices.ContainsFunc(found, func(c thinpool.Cure) bool { return c.Code == code }) {
		t.Errorf("got error %v with cures %+v, want %s", err, found, code)
	}
}

// TestReadMetadataActive checks that a reading shows the state at its start, and that the
// pool can change in the meantime. Nothing may be left.
func TestReadMetadataActive(t *testing.T) {
	f := newFixture(t)
	f.add("two")
	err := f.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
		if !r.Active || r.Root.TransactionID != 2 || r.Root.Block != r.Kernel.HeldRoot || !f.noted() {
			t.Errorf("got %+v", r)
		}
		f.add("three")
		check(t, f.Kernel.WriteStamp(f.base.Dev, 7, 1))
		_, _, err := f.Kernel.Status(t.Context(), dm.ByName("thinctl-vault"), dm.StatusOptions{}) // commits
		check(t, err)
		u, err := r.Usage(t.Context(), thinpool.UsageOptions{})
		if err != nil || len(u.Volumes) != 2 || u.Used != 64*units.KiB || u.Volumes[0].Name != "base" || u.Volumes[1].Name != "two" {
			t.Errorf("got %+v, %v", u, err)
		}
		if _, err := r.Volume("three"); !errors.Is(err, fault.NotFound) {
			t.Errorf("volume made after the start: got %v, want %v", err, fault.NotFound)
		}
		return nil
	})
	check(t, err)
	f.clean()
}

func TestReadMetadataInactive(t *testing.T) {
	f := newFixture(t)
	f.idle()
	err := f.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
		if r.Active || r.Root.Block != 0 || r.Root.TransactionID != 1 || r.DataBlocks != 1024 {
			t.Errorf("got %+v", r)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := f.vault.Activate(short); !errors.Is(err, filelock.ErrHeld) {
			t.Errorf("activation during a reading: got %v", err)
		}
		return nil
	})
	check(t, err)
	check(t, f.vault.Activate(t.Context()))
	f.clean()
}

// TestReadMetadataAlwaysReleases checks that the snapshot is released, however the reading
// ends.
func TestReadMetadataAlwaysReleases(t *testing.T) {
	f := newFixture(t)
	mine := errors.New("mine")
	if err := f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	f.clean()
	ctx, cancel := context.WithCancel(t.Context())
	err := f.vault.ReadMetadata(ctx, func(r *thinpool.Reading) error {
		cancel()
		_, err := r.Usage(ctx, thinpool.UsageOptions{})
		return err
	})
	wantError(t, err, []error{context.Canceled})
	f.clean()
	func() {
		defer func() { _ = recover() }()
		_ = f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { panic(mine) })
	}()
	f.clean()
	f.damage(metadata.SuperblockBlock)
	err = f.vault.ReadMetadata(t.Context(), nothing)
	wantError(t, err, []error{fault.Unhealthy, metadata.ErrChecksum})
	wantCure(t, err, thinpool.CureCheckInactive)
	f.clean()
}

// TestReadMetadataAfterKill checks that the next reading, activation, recovery or check
// releases the snapshot of a killed reading. A later snapshot of another program stays.
func TestReadMetadataAfterKill(t *testing.T) {
	read := func(p *thinpool.Pool) error { return p.ReadMetadata(context.Background(), nothing) }
	for step, phase := range map[string]thinpooltest.Phase{"message reserve": thinpooltest.After, "message release": thinpooltest.Before} {
		for name, next := range map[string]func(f *fixture) error{
			"read":     func(f *fixture) error { return read(f.vault) },
			"activate": func(f *fixture) error { return f.vault.Activate(f.t.Context()) },
			"recover":  func(f *fixture) error { return f.vault.Recover(f.t.Context()) },
			"check": func(f *fixture) error {
				report, err := f.vault.Check(f.t.Context())
				if len(report.Findings) > 0 {
					f.t.Errorf("got findings %+v, want none", report.Findings)
				}
				return err
			},
			"offline": func(f *fixture) error { f.idle(); return f.vault.Activate(f.t.Context()) },
		} {
			t.Run(step+"/"+name, func(t *testing.T) {
				f := newFixture(t)
				f.cutOff(step, phase, read)
				if f.heldRoot() == 0 || !f.noted() {
					t.Fatal("got no metadata snapshot or no note of a reading")
				}
				check(t, next(f))
				f.clean()
			})
			t.Run(step+"/"+name+"/another's", func(t *testing.T) {
				f := newFixture(t)
				f.cutOff(step, phase, read)
				f.send("release_metadata_snap")
				f.send("create_thin 99")
				f.send("set_transaction_id 1 2")
				f.send("reserve_metadata_snap")
				f.send("set_transaction_id 2 1")
				block := f.heldRoot()
				if name == "check" {
					_, err := f.vault.Check(t.Context())
					check(t, err)
				} else if err := next(f); err != nil && !errors.Is(err, thinpool.ErrHeldByOther) {
					t.Error(err)
				}
				if f.heldRoot() != block {
					t.Error("another program's snapshot was released")
				}
			})
		}
	}
}

// TestReadMetadataMoved checks that the result is void if the snapshot is released during
// the reading. It is read again once, and the second time is an error. A snapshot of another
// program is not released.
func TestReadMetadataMoved(t *testing.T) {
	f := newFixture(t)
	calls := 0
	check(t, f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		if calls++; calls == 1 {
			f.send("release_metadata_snap")
			return errors.New("blocks that made no sense")
		}
		return nil
	}))
	if calls != 2 {
		t.Errorf("got %d calls, want 2", calls)
	}
	f.clean()
	err := f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { f.send("release_metadata_snap"); return nil })
	wantError(t, err, []error{thinpool.ErrMoved, fault.Busy}, "released while it was read")
	f.clean()
	calls = 0
	err = f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		calls++
		f.send("release_metadata_snap")
		f.send("reserve_metadata_snap")
		return nil
	})
	wantError(t, err, []error{thinpool.ErrHeldByOther})
	if calls != 1 || f.heldRoot() == 0 || f.noted() {
		t.Errorf("got %d calls, snapshot %d, noted %v; want 1 call, a snapshot, not noted", calls, f.heldRoot(), f.noted())
	}
}

// TestReadMetadataOneAtATime checks that one reading runs at a time, and that the pool stays
// active until it ends.
func TestReadMetadataOneAtATime(t *testing.T) {
	f := newFixture(t)
	var inside, ended atomic.Int32
	began, faults := make(chan struct{}, 8), make(chan error, 8)
	for range 8 {
		go func() {
			faults <- f.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
				if inside.Add(1) != 1 {
					t.Error("got two concurrent readings")
				}
				began <- struct{}{}
				_, err := r.Usage(t.Context(), thinpool.UsageOptions{})
				inside.Add(-1)
				ended.Add(1)
				return err
			})
		}()
	}
	<-began
	check(t, f.vault.Deactivate(t.Context()))
	for range 8 {
		check(t, <-faults)
	}
	if inside.Load() != 0 || ended.Load() != 8 {
		t.Errorf("got %d readings ended, want 8", ended.Load())
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	check(t, f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		wantError(t, f.vault.ReadMetadata(short, nothing), []error{filelock.ErrHeld, context.DeadlineExceeded}, "another reading")
		for _, away := range []func(context.Context) error{f.vault.Deactivate, f.vault.Destroy} {
			wantError(t, away(short), []error{filelock.ErrHeld}, "pool vault")
		}
		return nil
	}))
}
