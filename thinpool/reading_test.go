package thinpool_test

import (
	"context"
	"errors"
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

func (s *fixture) heldRoot() uint64 {
	s.t.Helper()
	status, err := s.vault.Status(s.t.Context())
	check(s.t, err)
	return status.Kernel.HeldRoot
}

// noted reports whether the database has the note of a reading.
func (s *fixture) noted() bool {
	s.t.Helper()
	err := store.At(s.file("state.db")).View(s.t.Context(), func(tx *store.Tx) error { _, err := tx.Reading(); return err })
	if errors.Is(err, fault.NotFound) {
		return false
	}
	check(s.t, err)
	return true
}

func (s *fixture) clean() {
	s.t.Helper()
	if block := s.heldRoot(); block != 0 {
		s.t.Errorf("got a metadata snapshot at block %d, want none", block)
	}
	if s.noted() {
		s.t.Error("the note of a reading is left")
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

// TestReadMetadataActive checks that a reading shows the state at its start, and that the
// pool can change in the meantime. Nothing may be left.
func TestReadMetadataActive(t *testing.T) {
	s := newFixture(t)
	s.add("two")
	err := s.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
		if !r.Active || r.Root.TransactionID != 2 || r.Root.Block != r.Kernel.HeldRoot || !s.noted() {
			t.Errorf("%+v", r)
		}
		s.add("three")
		check(t, s.Kernel.WriteStamp(s.base.Dev, 7, 1))
		_, _, err := s.Kernel.Status(t.Context(), dm.ByName("thinctl-vault"), dm.StatusOptions{}) // commits
		check(t, err)
		u, err := r.Usage(t.Context(), thinpool.UsageOptions{})
		if err != nil || len(u.Volumes) != 2 || u.Used != 64*units.KiB || u.Volumes[0].Name != "base" || u.Volumes[1].Name != "two" {
			t.Errorf("%+v, %v", u, err)
		}
		if _, err := r.Volume("three"); !errors.Is(err, fault.NotFound) {
			t.Errorf("volume made after the start: got %v, want %v", err, fault.NotFound)
		}
		return nil
	})
	check(t, err)
	s.clean()
}

func TestReadMetadataInactive(t *testing.T) {
	s := newFixture(t)
	s.idle()
	err := s.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
		if r.Active || r.Root.Block != 0 || r.Root.TransactionID != 1 || r.DataBlocks != 1024 {
			t.Errorf("%+v", r)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := s.vault.Activate(short); !errors.Is(err, filelock.ErrHeld) {
			t.Errorf("activation during a reading: got %v", err)
		}
		return nil
	})
	check(t, err)
	check(t, s.vault.Activate(t.Context()))
	s.clean()
}

// TestReadMetadataAlwaysReleases checks that the snapshot is released, however the reading
// ends.
func TestReadMetadataAlwaysReleases(t *testing.T) {
	s := newFixture(t)
	mine := errors.New("mine")
	if err := s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	s.clean()
	ctx, cancel := context.WithCancel(t.Context())
	err := s.vault.ReadMetadata(ctx, func(r *thinpool.Reading) error {
		cancel()
		_, err := r.Usage(ctx, thinpool.UsageOptions{})
		return err
	})
	wantError(t, err, []error{context.Canceled})
	s.clean()
	func() {
		defer func() { _ = recover() }()
		_ = s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { panic(mine) })
	}()
	s.clean()
	s.damage(metadata.SuperblockBlock)
	wantError(t, s.vault.ReadMetadata(t.Context(), nothing), []error{fault.Unhealthy, metadata.ErrChecksum}, "pool check vault")
	s.clean()
}

// TestReadMetadataAfterKill checks that the next reading, activation, recovery or check
// releases the snapshot of a killed reading. A later snapshot of another program stays.
func TestReadMetadataAfterKill(t *testing.T) {
	read := func(p *thinpool.Pool) error { return p.ReadMetadata(context.Background(), nothing) }
	for step, phase := range map[string]thinpooltest.Phase{"message reserve": thinpooltest.After, "message release": thinpooltest.Before} {
		for name, next := range map[string]func(s *fixture) error{
			"read":     func(s *fixture) error { return read(s.vault) },
			"activate": func(s *fixture) error { return s.vault.Activate(s.t.Context()) },
			"recover":  func(s *fixture) error { return s.vault.Recover(s.t.Context()) },
			"check": func(s *fixture) error {
				report, err := s.vault.Check(s.t.Context())
				if len(report.Findings) > 0 {
					s.t.Errorf("%+v", report.Findings)
				}
				return err
			},
			"offline": func(s *fixture) error { s.idle(); return s.vault.Activate(s.t.Context()) },
		} {
			t.Run(step+"/"+name, func(t *testing.T) {
				s := newFixture(t)
				s.cutOff(step, phase, read)
				if s.heldRoot() == 0 || !s.noted() {
					t.Fatal("got no metadata snapshot or no note of a reading")
				}
				check(t, next(s))
				s.clean()
			})
			t.Run(step+"/"+name+"/another's", func(t *testing.T) {
				s := newFixture(t)
				s.cutOff(step, phase, read)
				s.send("release_metadata_snap")
				s.send("create_thin 99")
				s.send("set_transaction_id 1 2")
				s.send("reserve_metadata_snap")
				s.send("set_transaction_id 2 1")
				block := s.heldRoot()
				if name == "check" {
					_, err := s.vault.Check(t.Context())
					check(t, err)
				} else if err := next(s); err != nil && !errors.Is(err, thinpool.ErrHeldByOther) {
					t.Error(err)
				}
				if s.heldRoot() != block {
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
	s := newFixture(t)
	calls := 0
	check(t, s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		if calls++; calls == 1 {
			s.send("release_metadata_snap")
			return errors.New("blocks that made no sense")
		}
		return nil
	}))
	if calls != 2 {
		t.Errorf("got %d calls, want 2", calls)
	}
	s.clean()
	err := s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { s.send("release_metadata_snap"); return nil })
	wantError(t, err, []error{thinpool.ErrMoved, fault.Busy}, "released while it was read")
	s.clean()
	calls = 0
	err = s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		calls++
		s.send("release_metadata_snap")
		s.send("reserve_metadata_snap")
		return nil
	})
	wantError(t, err, []error{thinpool.ErrHeldByOther})
	if calls != 1 || s.heldRoot() == 0 || s.noted() {
		t.Errorf("got %d calls, snapshot %d, noted %v; want 1 call, a snapshot, not noted", calls, s.heldRoot(), s.noted())
	}
}

// TestReadMetadataOneAtATime checks that one reading runs at a time, and that the pool stays
// active until it ends.
func TestReadMetadataOneAtATime(t *testing.T) {
	s := newFixture(t)
	var inside, ended atomic.Int32
	began, faults := make(chan struct{}, 8), make(chan error, 8)
	for range 8 {
		go func() {
			faults <- s.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
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
	check(t, s.vault.Deactivate(t.Context()))
	for range 8 {
		check(t, <-faults)
	}
	if inside.Load() != 0 || ended.Load() != 8 {
		t.Errorf("got %d readings ended, want 8", ended.Load())
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	check(t, s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		wantError(t, s.vault.ReadMetadata(short, nothing), []error{filelock.ErrHeld, context.DeadlineExceeded}, "another reading")
		for _, away := range []func(context.Context) error{s.vault.Deactivate, s.vault.Destroy} {
			wantError(t, away(short), []error{filelock.ErrHeld}, "pool vault")
		}
		return nil
	}))
}
