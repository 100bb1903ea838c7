package thinpool_test

import (
	"errors"
	"strings"
	"testing"

	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

func percent(n int) *int { return &n }

// TestSet checks that only the given settings change, and that invalid settings change
// nothing.
func TestSet(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	settings := thinpool.Settings{BaseSize: 16 * units.MiB}
	for _, c := range []struct {
		name    string
		options thinpool.SetOptions
		want    thinpool.Settings // zero: refused
		texts   []string
	}{
		{name: "nothing", want: settings},
		{name: "one", options: thinpool.SetOptions{ReserveData: percent(20)}, want: thinpool.Settings{Reserve: store.Reserve{Data: 20}, BaseSize: 16 * units.MiB}},
		{name: "all", options: thinpool.SetOptions{ReserveData: percent(0), ReserveMetadata: percent(90), ReserveHost: percent(3), BaseSize: units.GiB},
			want: thinpool.Settings{Reserve: store.Reserve{Metadata: 90, Host: 3}, BaseSize: units.GiB}},
		{name: "none of all", options: thinpool.SetOptions{ReserveData: percent(91), ReserveHost: percent(-1), BaseSize: units.MiB + 1},
			texts: []string{"set pool vault", "data reserve 91% must be from 0 to 90", "host reserve -1%", "base size 1.00M must be at least 1M and a multiple of 512 bytes"}},
		{name: "too small", options: thinpool.SetOptions{BaseSize: units.MiB - 512}, texts: []string{"must be at least 1M"}},
		{name: "one of two", options: thinpool.SetOptions{ReserveData: percent(5), ReserveMetadata: percent(100)}, texts: []string{"metadata reserve 100%"}},
		{name: "back", options: thinpool.SetOptions{ReserveMetadata: percent(0), ReserveHost: percent(0), BaseSize: 16 * units.MiB}, want: settings},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := settings
			for _, dry := range []bool{true, false} {
				c.options.DryRun = dry
				before, after, err := f.vault.Set(ctx, c.options)
				if refused := len(c.texts) > 0; refused {
					if !errors.Is(err, fault.Invalid) {
						t.Errorf("got %v, want %v", err, fault.Invalid)
					}
					for _, text := range c.texts {
						if err != nil && !strings.Contains(err.Error(), text) {
							t.Errorf("got error %v, want it to contain %q", err, text)
						}
					}
				} else if err != nil || before != was || after != c.want {
					t.Errorf("got %+v to %+v, %v; want %+v to %+v", before, after, err, was, c.want)
				} else if !dry {
					settings = after
				}
				record, err := f.vault.Record(ctx)
				if got := (thinpool.Settings{Reserve: record.Reserve, BaseSize: record.BaseSize}); err != nil || got != settings {
					t.Errorf("dry run %v: got settings %+v, %v; want %+v", dry, got, err, settings)
				}
			}
		})
	}
}

// TestSetHoldsAtOnce checks that new settings of an active pool apply to the next volume.
func TestSetHoldsAtOnce(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	other, err := thinpool.Open(ctx, f.Host(), f.Root, "vault")
	check(t, err)
	_, _, err = other.Set(ctx, thinpool.SetOptions{BaseSize: 32 * units.MiB})
	check(t, err)
	if volume, err := f.vault.CreateVolume(ctx, "new", thinpool.VolumeOptions{}); err != nil || volume.Size != 32*units.MiB {
		t.Errorf("got %+v, %v", volume, err)
	}
	if base, err := f.vault.VolumeStatus(ctx, "base"); err != nil || base.Size != 16*units.MiB {
		t.Errorf("existing volume: got %+v, %v", base, err)
	}
	for block := range uint64(512) { // half of the data
		check(t, f.Kernel.WriteStamp(f.base.Dev, block%256, 1))
	}
	_, _, err = other.Set(ctx, thinpool.SetOptions{ReserveData: percent(80)})
	check(t, err)
	if _, err := f.vault.CreateVolume(ctx, "more", thinpool.VolumeOptions{}); !errors.Is(err, thinpool.ErrReserve) {
		t.Errorf("below the new reserve: %v", err)
	}
	f.idle()
	_, _, err = other.Set(ctx, thinpool.SetOptions{ReserveData: percent(0)})
	check(t, err)
	check(t, f.vault.Activate(ctx))
	if _, err := f.vault.CreateVolume(ctx, "more", thinpool.VolumeOptions{}); err != nil {
		t.Errorf("above the new reserve: %v", err)
	}
}
