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
		given func(f *fixture)
		kind  error
		cure  thinpool.CureCode
		texts string
	}{
		{"needs check", func(f *fixture) { f.needsCheck() }, thinpool.ErrNeedsCheck, thinpool.CureNeedsCheck, "needs a check"},
		{"failed", func(f *fixture) {
			pool, err := f.Kernel.Info(f.t.Context(), dm.ByName("thinctl-vault"))
			check(f.t, err)
			check(f.t, f.Kernel.FailPool(pool.Dev))
		}, fault.Unhealthy, thinpool.CureCheck, "it has failed"},
		{"out of metadata space", func(f *fixture) { f.fillMetadata(0) }, fault.Unhealthy, thinpool.CureReadOnly, "read-only"},
		{"low on metadata", func(f *fixture) { f.fillMetadata(50) }, thinpool.ErrReserve, thinpool.CureReadInactive, "needs free space"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			c.given(f)
			err := f.vault.ReadMetadata(t.Context(), func(*thinpool.Reading) error { t.Error("got a reading, want an error"); return nil })
			wantError(t, err, []error{c.kind}, "pool vault", c.texts)
			wantCure(t, err, c.cure)
			if f.noted() {
				t.Error("the note of a reading is left")
			}
		})
	}
}

// fillMetadata uses all metadata blocks except left. Each empty thin device takes one.
func (f *fixture) fillMetadata(left uint64) {
	f.t.Helper()
	for id := 1000; ; id++ {
		status, err := f.vault.Status(f.t.Context())
		check(f.t, err)
		if status.Kernel.Mode != dm.ModeWrite || left > 0 && status.Kernel.FreeMetadata() <= left {
			return
		}
		_, _ = f.Kernel.Message(f.t.Context(), dm.ByName("thinctl-vault"), fmt.Sprintf("create_thin %d", id))
	}
}

// TestReadMetadataHeldByOther checks that a reading is refused if another program holds a
// metadata snapshot, and that the snapshot stays.
func TestReadMetadataHeldByOther(t *testing.T) {
	f := newFixture(t)
	f.send("reserve_metadata_snap")
	block := f.heldRoot()
	for range 2 {
		err := f.vault.ReadMetadata(t.Context(), nothing)
		wantError(t, err, []error{thinpool.ErrHeldByOther, fault.Busy}, "pool vault", "held at block", "not by thinctl")
		wantCure(t, err, thinpool.CureReleaseSnapshot)
	}
	check(t, f.vault.Activate(t.Context()))
	check(t, f.vault.Recover(t.Context()))
	if f.heldRoot() != block || f.noted() {
		t.Errorf("got snapshot %d, noted %v; want snapshot %d, not noted", f.heldRoot(), f.noted(), block)
	}
	f.send("release_metadata_snap")
	check(t, f.vault.ReadMetadata(t.Context(), nothing))
	f.clean()
}

func TestReadMetadataOfAnotherPool(t *testing.T) {
	f := newFixture(t)
	f.idle()
	twin, err := thinpool.Create(t.Context(), f.host, f.Root, "twin", thinpooltest.SmallPool())
	check(t, err)
	check(t, twin.Deactivate(t.Context()))
	content, err := os.ReadFile(twin.Dir() + "/metadata")
	check(t, err)
	f.write(f.file("metadata"), 0, string(content[:4096]))
	wantError(t, f.vault.ReadMetadata(t.Context(), nothing), []error{thinpool.ErrSwapped}, "uuid")
	f.write(f.file("metadata"), 0, string(bytes.Repeat([]byte{7}, 4096)))
	err = f.vault.ReadMetadata(t.Context(), nothing)
	wantError(t, err, []error{fault.Unhealthy, metadata.ErrNotMetadata})
	wantCure(t, err, thinpool.CureCheck)
}
