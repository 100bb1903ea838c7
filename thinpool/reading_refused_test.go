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
		given func(s *stage)
		kind  error
		says  string
	}{
		{"needs check", func(s *stage) { s.needsCheck() }, thinpool.ErrNeedsCheck, "pool repair vault"},
		{"failed", func(s *stage) {
			pool, err := s.Kernel.Info(s.t.Context(), dm.ByName("thinctl-vault"))
			check(s.t, err)
			check(s.t, s.Kernel.FailPool(pool.Dev))
		}, fault.Unhealthy, "it has failed"},
		{"out of metadata space", func(s *stage) { s.fillMetadata(0) }, fault.Unhealthy, "read-only"},
		{"low on metadata", func(s *stage) { s.fillMetadata(50) }, thinpool.ErrReserve, "needs room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			c.given(s)
			err := s.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { t.Error("it was read"); return nil })
			says(t, err, []error{c.kind}, "pool vault", c.says)
			if s.noted() {
				t.Error("the note of a reading is left")
			}
		})
	}
}

// fillMetadata uses the metadata up but for so many blocks: one for each empty
// thin device.
func (s *stage) fillMetadata(left uint64) {
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

// Another program's snapshot is refused and stays.
func TestReadMetadataHeldByOther(t *testing.T) {
	s := newStage(t)
	s.send("reserve_metadata_snap")
	block := s.heldRoot()
	for range 2 {
		err := s.vault.ReadMetadata(t.Context(), nothing)
		says(t, err, []error{thinpool.ErrHeldByOther, fault.Busy}, "pool vault", "held at block", "not by thinctl", "release_metadata_snap")
	}
	check(t, s.vault.Activate(t.Context()))
	check(t, s.vault.Recover(t.Context()))
	if s.heldRoot() != block || s.noted() {
		t.Errorf("held at %d, was %d; noted %v", s.heldRoot(), block, s.noted())
	}
	s.send("release_metadata_snap")
	check(t, s.vault.ReadMetadata(t.Context(), nothing))
	s.clean()
}

func TestReadMetadataOfAnotherPool(t *testing.T) {
	s := newStage(t)
	s.idle()
	twin, err := thinpool.Create(t.Context(), s.host, s.Root, "twin", thinpooltest.SmallPool())
	check(t, err)
	check(t, twin.Deactivate(t.Context()))
	content, err := os.ReadFile(twin.Dir() + "/metadata")
	check(t, err)
	s.write(s.file("metadata"), 0, string(content[:4096]))
	says(t, s.vault.ReadMetadata(t.Context(), nothing), []error{thinpool.ErrSwapped}, "uuid")
	s.write(s.file("metadata"), 0, string(bytes.Repeat([]byte{7}, 4096)))
	says(t, s.vault.ReadMetadata(t.Context(), nothing), []error{fault.Unhealthy, metadata.ErrNotMetadata}, "pool check vault")
}
