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

func (s *stage) heldRoot() uint64 {
	s.t.Helper()
	status, err := s.vault.Status(s.t.Context())
	check(s.t, err)
	return status.Kernel.HeldRoot
}

// noted reports whether the database has the note of a reading.
func (s *stage) noted() bool {
	s.t.Helper()
	err := store.At(s.file("state.db")).View(s.t.Context(), func(tx *store.Tx) error { _, err := tx.Reading(); return err })
	if errors.Is(err, fault.NotFound) {
		return false
	}
	check(s.t, err)
	return true
}

func (s *stage) clean() {
	s.t.Helper()
	if block := s.heldRoot(); block != 0 {
		s.t.Errorf("a metadata snapshot is held at block %d", block)
	}
	if s.noted() {
		s.t.Error("the note of a reading is left")
	}
}

func says(t *testing.T, err error, kinds []error, words ...string) {
	t.Helper()
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			t.Errorf("%v is no %v", err, kind)
		}
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// What is read is the moment at which it was asked for; the pool is free for
// changes meanwhile, and nothing is left.
func TestReadMetadataActive(t *testing.T) {
	s := newStage(t)
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
			t.Errorf("a volume of later: %v", err)
		}
		return nil
	})
	check(t, err)
	s.clean()
}

func TestReadMetadataInactive(t *testing.T) {
	s := newStage(t)
	s.idle()
	err := s.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
		if r.Active || r.Root.Block != 0 || r.Root.TransactionID != 1 || r.DataBlocks != 1024 {
			t.Errorf("%+v", r)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := s.vault.Activate(short); !errors.Is(err, filelock.ErrHeld) {
			t.Errorf("activated while it was read: %v", err)
		}
		return nil
	})
	check(t, err)
	check(t, s.vault.Activate(t.Context()))
	s.clean()
}

// Whatever ends a reading, the snapshot goes.
func TestReadMetadataAlwaysReleases(t *testing.T) {
	s := newStage(t)
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
	says(t, err, []error{context.Canceled})
	s.clean()
	func() {
		defer func() { _ = recover() }()
		_ = s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { panic(mine) })
	}()
	s.clean()
	s.damage(metadata.SuperblockBlock)
	says(t, s.vault.ReadMetadata(t.Context(), nothing), []error{fault.Unhealthy, metadata.ErrChecksum}, "pool check vault")
	s.clean()
}

// What a killed reading leaves is released by the next one, by an activation,
// by a recovery; what another program has taken since is not.
func TestReadMetadataAfterKill(t *testing.T) {
	read := func(p *thinpool.Pool) error { return p.ReadMetadata(context.Background(), nothing) }
	for step, phase := range map[string]thinpooltest.Phase{"message reserve": thinpooltest.After, "message release": thinpooltest.Before} {
		for name, next := range map[string]func(s *stage) error{
			"read":     func(s *stage) error { return read(s.vault) },
			"activate": func(s *stage) error { return s.vault.Activate(s.t.Context()) },
			"recover":  func(s *stage) error { return s.vault.Recover(s.t.Context()) },
			"check": func(s *stage) error {
				report, err := s.vault.Check(s.t.Context())
				if len(report.Findings) > 0 {
					s.t.Errorf("%+v", report.Findings)
				}
				return err
			},
			"offline": func(s *stage) error { s.idle(); return s.vault.Activate(s.t.Context()) },
		} {
			t.Run(step+"/"+name, func(t *testing.T) {
				s := newStage(t)
				s.cutOff(step, phase, read)
				if s.heldRoot() == 0 || !s.noted() {
					t.Fatal("nothing is held")
				}
				check(t, next(s))
				s.clean()
			})
			t.Run(step+"/"+name+"/another's", func(t *testing.T) {
				s := newStage(t)
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

// Where the snapshot goes while it is read, the result is void: read again once,
// then an error. One that another program holds by then is not released.
func TestReadMetadataMoved(t *testing.T) {
	s := newStage(t)
	calls := 0
	check(t, s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		if calls++; calls == 1 {
			s.send("release_metadata_snap")
			return errors.New("blocks that made no sense")
		}
		return nil
	}))
	if calls != 2 {
		t.Errorf("read %d times", calls)
	}
	s.clean()
	err := s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { s.send("release_metadata_snap"); return nil })
	says(t, err, []error{thinpool.ErrMoved, fault.Busy}, "released while it was read")
	s.clean()
	calls = 0
	err = s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		calls++
		s.send("release_metadata_snap")
		s.send("reserve_metadata_snap")
		return nil
	})
	says(t, err, []error{thinpool.ErrHeldByOther})
	if calls != 1 || s.heldRoot() == 0 || s.noted() {
		t.Errorf("read %d times, held at %d, noted %v", calls, s.heldRoot(), s.noted())
	}
}

// One reading goes on at a time, and the pool does not go away under it.
func TestReadMetadataOneAtATime(t *testing.T) {
	s := newStage(t)
	var inside, ended atomic.Int32
	began, faults := make(chan struct{}, 8), make(chan error, 8)
	for range 8 {
		go func() {
			faults <- s.vault.ReadMetadata(t.Context(), func(r *thinpool.Reading) error {
				if inside.Add(1) != 1 {
					t.Error("two readings at once")
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
		t.Errorf("%d ended", ended.Load())
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	check(t, s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error {
		says(t, s.vault.ReadMetadata(short, nothing), []error{filelock.ErrHeld, context.DeadlineExceeded}, "another reading")
		for _, away := range []func(context.Context) error{s.vault.Deactivate, s.vault.Destroy} {
			says(t, away(short), []error{filelock.ErrHeld}, "pool vault")
		}
		return nil
	}))
}
