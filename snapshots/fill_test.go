package snapshots_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"thinctl/internal/testkit/snapshotstest"
	"thinctl/snapshots"
)

// unsynced are files whose pending writes fail, which only a sync reports.
type unsynced struct{ *snapshotstest.Files }

func (unsynced) Sync(context.Context, string) error { return syscall.EIO }

// A fill whose writes fail after they were accepted is an error, and leaves no mount.
func TestFillThatCannotBeWritten(t *testing.T) {
	f := newFixture(t)
	mounts, err := f.S.Prepare(f.Ctx, "web", "")
	check(t, err)
	s, err := snapshots.New(f.Pool, unsynced{f.Files}, snapshots.Options{})
	check(t, err)
	defer s.Close()
	web, err := s.Active(f.Ctx, mounts)
	check(t, err)
	if err := web.Fill(f.Ctx, func(string) error { return nil }); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want %v", err, syscall.EIO)
	}
	if targets := f.Files.Targets(); len(targets) > 0 {
		t.Errorf("got the mounts %q, want none", targets)
	}
}
