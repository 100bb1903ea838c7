package thinpool_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

func activating(ctx context.Context, f *fixture) error { return f.vault.Activate(ctx) }

func extending(options thinpool.ExtendOptions) func(context.Context, *fixture) error {
	return func(ctx context.Context, f *fixture) error { _, err := f.vault.Extend(ctx, options); return err }
}

// badPools returns cases in which a part of the pool was replaced, damaged or removed.
func badPools() []badInput {
	return []badInput{
		{
			name: "another pool's metadata", try: activating, kind: thinpool.ErrSwapped, texts: []string{"ROOT/vault/metadata", "uuid", "put this pool's own metadata back"},
			given: func(t *testing.T, f *fixture) {
				twin, err := thinpool.Create(t.Context(), f.host, f.Root, "twin", thinpooltest.SmallPool())
				check(t, err)
				check(t, twin.Deactivate(t.Context()))
				f.idle()
				content, err := os.ReadFile(twin.Dir() + "/metadata")
				check(t, err)
				check(t, os.WriteFile(f.file("metadata"), content, 0o600))
			},
		},
		{
			name: "blank metadata", try: activating, kind: fault.Unhealthy, texts: []string{"ROOT/vault/metadata", "blank", "restore it from a copy"},
			given: func(t *testing.T, f *fixture) {
				f.idle()
				f.write(f.file("metadata"), 0, strings.Repeat("\x00", 4096))
			},
		},
		{
			name: "damaged superblock", try: activating, kind: fault.Unhealthy, texts: []string{"ROOT/vault/metadata", "are lost", "are kept"},
			given: func(t *testing.T, f *fixture) { f.idle(); f.write(f.file("metadata"), 100, "damage") },
		},
		{
			name: "truncated data", try: activating, cure: thinpool.CureAcceptShort, texts: []string{"ROOT/vault/data has 32M", "put the larger"},
			given: func(t *testing.T, f *fixture) { f.idle(); check(t, os.Truncate(f.file("data"), 32<<20)) },
		},
		{
			name: "truncated metadata", try: activating, cure: thinpool.CureTruncate, texts: []string{"ROOT/vault/metadata has 2M", "put the larger"},
			given: func(t *testing.T, f *fixture) { f.idle(); check(t, os.Truncate(f.file("metadata"), 2<<20)) },
		},
		{
			name: "no data file", try: activating, kind: os.ErrNotExist, texts: []string{"ROOT/vault/data", "put it back"},
			given: func(t *testing.T, f *fixture) { f.idle(); check(t, os.Remove(f.file("data"))) },
		},
		{
			name: "no metadata file", try: activating, kind: os.ErrNotExist, texts: []string{"ROOT/vault/metadata", "put it back"},
			given: func(t *testing.T, f *fixture) { f.idle(); check(t, os.Remove(f.file("metadata"))) },
		},
		{
			name: "older database", try: activating, kind: thinpool.ErrDiverged, cure: thinpool.CureCheck, texts: []string{"the metadata is at transaction 3, the database at 1"},
			given: func(t *testing.T, f *fixture) {
				restore := f.saved("state.db")
				f.add("two", "three")
				restore()
			},
		},
		{
			name: "newer database", try: activating, kind: thinpool.ErrDiverged, cure: thinpool.CureCheck, texts: []string{"the metadata is at transaction 1, the database at 3"},
			given: func(t *testing.T, f *fixture) {
				restore := f.saved("metadata")
				f.add("two", "three")
				restore()
			},
		},
		{
			name: "damaged database", cure: thinpool.CureRestoreDatabase, texts: []string{"ROOT/vault/state.db", "damaged"},
			given: func(t *testing.T, f *fixture) {
				f.idle()
				check(t, f.vault.Close(t.Context()))
				f.write(f.file("state.db"), 0, strings.Repeat("x", 8192))
			},
			try: func(ctx context.Context, f *fixture) error {
				_, err := thinpool.Open(ctx, f.host, f.Root, "vault")
				return err
			},
		},
		{
			name: "no pool of that name", kind: fault.NotFound, cure: thinpool.CureListPools, texts: []string{"pool none"},
			try: func(ctx context.Context, f *fixture) error {
				_, err := thinpool.Open(ctx, f.host, f.Root, "none")
				return err
			},
		},
		{name: "smaller data", try: extending(thinpool.ExtendOptions{Data: 32 * units.MiB}), kind: fault.Invalid, texts: []string{"pool vault", "32M is smaller than its 64M", "only grow"}},
		{name: "smaller metadata", try: extending(thinpool.ExtendOptions{Metadata: 2 * units.MiB}), kind: fault.Invalid, texts: []string{"2M is smaller than its 4M"}},
		{name: "uneven data", try: extending(thinpool.ExtendOptions{Data: 100*units.MiB + 1}), kind: fault.Invalid, texts: []string{"multiple of the block size", "use 102464K"}},
		{name: "uneven metadata", try: extending(thinpool.ExtendOptions{Metadata: 8*units.MiB + 512}), kind: fault.Invalid, texts: []string{"multiple of 4K"}},
		{name: "metadata beyond the kernel", try: extending(thinpool.ExtendOptions{Metadata: 32 * units.GiB}), kind: fault.Invalid, texts: []string{"exceeds what the kernel can use"}},
		{name: "to a device that is none", try: extending(thinpool.ExtendOptions{ToDevice: true}), kind: fault.Invalid, cure: thinpool.CureGiveSizes, texts: []string{"is on files"}},
		{
			name: "extend an inactive pool", try: extending(thinpool.ExtendOptions{Data: 128 * units.MiB}), kind: thinpool.ErrInactive, cure: thinpool.CureActivate, texts: []string{"pool vault"},
			given: func(t *testing.T, f *fixture) { f.idle() },
		},
		{
			name: "deactivate in use", kind: fault.Busy, texts: []string{"thinctl-vault-base is open", "then retry"},
			given: func(t *testing.T, f *fixture) { _, err := f.Kernel.Hold(f.base.Dev); check(t, err) },
			try:   func(ctx context.Context, f *fixture) error { return f.vault.Deactivate(ctx) },
		},
		{
			name: "destroy in use", kind: fault.Busy, texts: []string{"thinctl-vault-base is open", "then retry"},
			given: func(t *testing.T, f *fixture) { _, err := f.Kernel.Hold(f.base.Dev); check(t, err) },
			try:   func(ctx context.Context, f *fixture) error { return f.vault.Destroy(ctx) },
		},
	}
}

func badVolumes() []badInput {
	create := func(name string, size units.Bytes) func(context.Context, *fixture) error {
		return func(ctx context.Context, f *fixture) error {
			_, err := f.vault.CreateVolume(ctx, name, thinpool.VolumeOptions{Size: size})
			return err
		}
	}
	snapshot := func(origin, name string, size units.Bytes) func(context.Context, *fixture) error {
		return func(ctx context.Context, f *fixture) error {
			_, err := f.vault.Snapshot(ctx, origin, name, thinpool.SnapshotOptions{Size: size})
			return err
		}
	}
	resize := func(name string, size units.Bytes) func(context.Context, *fixture) error {
		return func(ctx context.Context, f *fixture) error {
			_, err := f.vault.ResizeVolume(ctx, name, size)
			return err
		}
	}
	remove := func(name string) func(context.Context, *fixture) error {
		return func(ctx context.Context, f *fixture) error {
			_, err := f.vault.RemoveVolume(ctx, name, thinpool.RemoveOptions{})
			return err
		}
	}
	bad := []badInput{
		{name: "volume exists", try: create("base", 0), kind: fault.Exists, texts: []string{"volume vault/base", "choose another name"}},
		{name: "uneven volume", try: create("new", units.MiB+1), kind: fault.Invalid, texts: []string{"vault/new", "use 1049088"}},
		{name: "volume too small", try: create("new", 4096), kind: fault.Invalid, texts: []string{"4K must be from 64K"}},
		{name: "volume too large", try: create("new", 16*units.PiB), kind: fault.Invalid, texts: []string{"to 8P"}},
		{name: "snapshot of nothing", try: snapshot("none", "new", 0), kind: fault.NotFound, cure: thinpool.CureListVolumes, texts: []string{"vault/none"}},
		{name: "snapshot exists", try: snapshot("base", "base", 0), kind: fault.Exists, texts: []string{"vault/base"}},
		{name: "snapshot too small", try: snapshot("base", "new", units.MiB), kind: fault.Invalid, texts: []string{"smaller than the origin's 16M"}},
		{name: "resize nothing", try: resize("none", units.GiB), kind: fault.NotFound, texts: []string{"vault/none"}},
		{name: "resize smaller", try: resize("base", units.MiB), kind: fault.Invalid, texts: []string{"smaller than its 16M", "only grow"}},
		{name: "resize uneven", try: resize("base", 20*units.MiB+3), kind: fault.Invalid, texts: []string{"multiple of 512"}},
		{name: "remove nothing", try: remove("none"), kind: fault.NotFound, cure: thinpool.CureListVolumes, texts: []string{"vault/none"}},
		{
			name: "remove in use", try: remove("base"), kind: fault.Busy, cure: thinpool.CureDeferred, texts: []string{"vault/base", "thinctl-vault-base is open", "then retry"},
			given: func(t *testing.T, f *fixture) { _, err := f.Kernel.Hold(f.base.Dev); check(t, err) },
		},
		{
			name: "deactivate a volume in use", kind: fault.Busy, texts: []string{"vault/base", "thinctl-vault-base is open", "then retry"},
			given: func(t *testing.T, f *fixture) { _, err := f.Kernel.Hold(f.base.Dev); check(t, err) },
			try:   func(ctx context.Context, f *fixture) error { return f.vault.DeactivateVolume(ctx, "base") },
		},
		{
			name: "activate nothing", kind: fault.NotFound, texts: []string{"vault/none"},
			try: func(ctx context.Context, f *fixture) error { _, err := f.vault.ActivateVolume(ctx, "none"); return err },
		},
		{
			name: "volume's device name taken", kind: fault.Exists, texts: []string{"thinctl-vault-idle", "remove or rename it"},
			given: func(t *testing.T, f *fixture) {
				f.add("idle")
				_, err := f.Kernel.Create(t.Context(), "thinctl-vault-idle", "LVM-another")
				check(t, err)
			},
			try: func(ctx context.Context, f *fixture) error { _, err := f.vault.ActivateVolume(ctx, "idle"); return err },
		},
	}
	for name, try := range map[string]func(context.Context, *fixture) error{
		"create": create("new", 0), "snapshot": snapshot("base", "new", 0), "remove": remove("base"),
		"activate": func(ctx context.Context, f *fixture) error { _, err := f.vault.ActivateVolume(ctx, "base"); return err },
	} {
		bad = append(bad, badInput{
			name: name + " in an inactive pool", try: try, kind: thinpool.ErrInactive, cure: thinpool.CureActivate,
			given: func(t *testing.T, f *fixture) { f.idle() },
		})
	}
	for _, name := range []string{"", "-x", "a/b", "a b", "größe", strings.Repeat("n", 97)} {
		bad = append(bad,
			badInput{name: "volume name " + name, try: create(name, 0), kind: fault.Invalid, texts: []string{"name volume"}},
			badInput{name: "snapshot name " + name, try: snapshot("base", name, 0), kind: fault.Invalid, texts: []string{"name volume"}})
	}
	return bad
}
