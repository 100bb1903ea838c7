package thinpool_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
)

func TestReadMetadataRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		given func(s *fixture)
		kind  error
		texts string
	}{
		{"needs check", func(s *fixture) { s.needsCheck() }, thinpool.ErrNeedsCheck, "pool repair vault"},
		{"failed", func(s *fixture) {
			pool, err := s.Kernel.Info(s.t.Context(), dm.ByName("thinctl-vault"))
			check(s.t, err)
			check(s.t, s.Kernel.FailPool(pool.Dev))
		}, fault.Unhealthy, "it has failed"},
		{"out of metadata space", func(s *fixture) { s.fillMetadata(0) }, fault.Unhealthy, "read-only"},
		{"low on metadata", func(s *fixture) { s.fillMetadata(50) }, thinpool.ErrReserve, "needs room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFixture(t)
			c.given(s)
			err := s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { t.Error("got a reading, want an error"); return nil })
			wantError(t, err, []error{c.kind}, "pool vault", c.texts)
			if s.noted() {
				t.Error("the note of a reading is left")
			}
		})
	}
}

// fillMetadata uses all metadata blocks except left. Each empty thin device takes one.
func (s *fixture) fillMetadata(left uint64) {
	s.t.Helper()
	for id := 1000; ; id++ {
		status, err := s.vault.Status(s.t.Context())
		check(s.t, err)
		if status.Kernel.Mode != dm.ModeWrite || left > 0 && status.Kernel.FreeMetadata() <= left {
			return
		}
		_, _ = s.Kernel.Message(s.t.Context(), dm.ByName("thinctl-vault"), fmt.Sprintf("create_thin %d", id))
	}
}

// TestReadMetadataHeldByOther checks that a reading is refused if another program holds a
// metadata snapshot, and that the snapshot stays.
func TestReadMetadataHeldByOther(t *testing.T) {
	s := newFixture(t)
	s.send("reserve_metadata_snap")
	block := s.heldRoot()
	for range 2 {
		err := s.vault.ReadMetadata(t.Context(), nothing)
		wantError(t, err, []error{thinpool.ErrHeldByOther, fault.Busy}, "pool vault", "held at block", "not by thinctl", "release_metadata_snap")
	}
	check(t, s.vault.Activate(t.Context()))
	check(t, s.vault.Recover(t.Context()))
	if s.heldRoot() != block || s.noted() {
		t.Errorf("got snapshot %d, noted %v; want snapshot %d, not noted", s.heldRoot(), s.noted(), block)
	}
	s.send("release_metadata_snap")
	check(t, s.vault.ReadMetadata(t.Context(), nothing))
	s.clean()
}

func TestReadMetadataOfAnotherPool(t *testing.T) {
	s := newFixture(t)
	s.idle()
	twin, err := thinpool.Create(t.Context(), s.host, s.Root, "twin", thinpooltest.SmallPool())
	check(t, err)
	check(t, twin.Deactivate(t.Context()))
	content, err := os.ReadFile(twin.Dir() + "/metadata")
	check(t, err)
	s.write(s.file("metadata"), 0, string(content[:4096]))
	wantError(t, s.vault.ReadMetadata(t.Context(), nothing), []error{thinpool.ErrSwapped}, "uuid")
	s.write(s.file("metadata"), 0, string(bytes.Repeat([]byte{7}, 4096)))
	wantError(t, s.vault.ReadMetadata(t.Context(), nothing), []error{fault.Unhealthy, metadata.ErrNotMetadata}, "pool check vault")
}
