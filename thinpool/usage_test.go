package thinpool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

const block = 64 * units.KiB

// shared makes four thin devices: base with blocks 0 to 3; web, a snapshot of it with block 1
// written again and block 9 added; old, removed but in use, with block 5; and one that is not
// in the database.
func (f *fixture) shared() (release func()) {
	f.t.Helper()
	ctx := f.t.Context()
	stamp := func(v thinpool.Volume, blocks ...uint64) {
		for _, b := range blocks {
			check(f.t, f.Kernel.WriteStamp(v.Dev, b, 1))
		}
	}
	stamp(f.base, 0, 1, 2, 3)
	_, err := f.vault.Snapshot(ctx, "base", "web", thinpool.SnapshotOptions{})
	check(f.t, err)
	web, err := f.vault.ActivateVolume(ctx, "web")
	check(f.t, err)
	stamp(web, 1, 9)
	f.add("old")
	old, err := f.vault.ActivateVolume(ctx, "old")
	check(f.t, err)
	stamp(old, 5)
	release, err = f.Kernel.Hold(old.Dev)
	check(f.t, err)
	_, err = f.vault.RemoveVolume(ctx, "old", thinpool.RemoveOptions{Deferred: true})
	check(f.t, err)
	f.orphan(777, 2)
	return release
}

func TestUsage(t *testing.T) {
	f := newFixture(t)
	defer f.shared()()
	compare := func(want map[string][3]units.Bytes) {
		t.Helper()
		u, err := f.vault.Usage(t.Context(), thinpool.UsageOptions{Freed: []string{"web", "base"}})
		check(t, err)
		var names []string
		for _, v := range u.Volumes {
			names = append(names, v.String())
			if got := [3]units.Bytes{v.Mapped / block, v.Exclusive / block, v.Shared / block}; got != want[v.String()] {
				t.Errorf("%s: got %d mapped, exclusive, shared; want %d", v, got, want[v.String()])
			}
		}
		if !slices.Equal(names, []string{"base", "web", "old (removed, device id 3)", "device id 777"}) {
			t.Errorf("got %q", names)
		}
		if u.Freed != 6*block || u.Used != 8*block || u.Exclusive != 5*block || u.Shared != 3*block || u.Used+u.Free != u.Total || u.Total != 64*units.MiB {
			t.Errorf("got %+v", u)
		}
		if u.Volumes[0].Size != 16*units.MiB || u.Volumes[3].Size != 0 || u.MetadataTrees == 0 || u.MetadataTotal != 4*units.MiB {
			t.Errorf("got %+v", u)
		}
	}
	want := map[string][3]units.Bytes{"base": {4, 1, 3}, "web": {5, 2, 3}, "old (removed, device id 3)": {1, 1, 0}, "device id 777": {1, 1, 0}}
	compare(want)
	status, err := f.vault.Status(t.Context())
	if err != nil || status.Kernel.UsedData != 8 {
		t.Errorf("kernel: got %d used blocks, %v", status.Kernel.UsedData, err)
	}
	_, err = f.vault.Usage(t.Context(), thinpool.UsageOptions{Freed: []string{"none"}})
	wantError(t, err, []error{fault.NotFound}, "vault/none")
	f.clean()
}

// TestUsageAddsUp checks that the usage of all volumes adds up to the kernel's number, after
// random writes.
func TestUsageAddsUp(t *testing.T) {
	f := newFixture(t)
	ctx, r := t.Context(), rand.New(rand.NewPCG(1, 2))
	names := []string{"base"}
	for n := range 12 {
		name := fmt.Sprintf("v%d", n)
		_, err := f.vault.Snapshot(ctx, names[r.IntN(len(names))], name, thinpool.SnapshotOptions{})
		check(t, err)
		names = append(names, name)
		for range 3 {
			volume, err := f.vault.ActivateVolume(ctx, names[r.IntN(len(names))])
			check(t, err)
			for range 10 {
				check(t, f.Kernel.WriteStamp(volume.Dev, r.Uint64N(200), 1))
			}
		}
		if n%4 == 3 {
			gone := r.IntN(len(names))
			before, err := f.vault.Usage(ctx, thinpool.UsageOptions{Freed: names[gone : gone+1]})
			check(t, err)
			_, err = f.vault.RemoveVolume(ctx, names[gone], thinpool.RemoveOptions{})
			check(t, err)
			after, err := f.vault.Usage(ctx, thinpool.UsageOptions{})
			check(t, err)
			if before.Used-before.Freed != after.Used {
				t.Errorf("removing %s: got %s of %s freed, want %s", names[gone], before.Used-after.Used, before.Used, before.Freed)
			}
			names = slices.Delete(names, gone, gone+1)
		}
		u, err := f.vault.Usage(ctx, thinpool.UsageOptions{Freed: names})
		check(t, err)
		_, _, err = f.Kernel.Status(ctx, dm.ByName("thinctl-vault"), dm.StatusOptions{})
		check(t, err)
		status, err := f.vault.Status(ctx)
		check(t, err)
		var exclusive units.Bytes
		for _, v := range u.Volumes {
			exclusive += v.Exclusive
		}
		if used := units.Bytes(status.Kernel.UsedData) * block; exclusive+u.Shared != used || u.Used != used || u.Freed != used {
			t.Fatalf("got %+v, want %s used", u, used)
		}
	}
}

func TestMapsOfAPool(t *testing.T) {
	f := newFixture(t)
	defer f.shared()()
	ctx := t.Context()
	var thins string
	var spans []thinpool.DataSpan
	check(t, f.vault.DataMap(ctx, func(m thinpool.DataMap) error {
		thins = fmt.Sprint(m.Thins)
		return m.Spans(func(span thinpool.DataSpan) error { spans = append(spans, span); return nil })
	}))
	for _, name := range []string{"base", "web", "old (removed", "device id 777"} {
		if !strings.Contains(thins, name) {
			t.Errorf("got the thin devices %s, want %q", thins, name)
		}
	}
	var kinds [3]uint64
	for _, span := range spans {
		kinds[span.Kind] += span.Blocks
	}
	if kinds != [3]uint64{1016, 5, 3} {
		t.Errorf("got %d blocks free, exclusive, shared", kinds)
	}

	runs, err := f.vault.VolumeMap(ctx, "web")
	check(t, err)
	if len(runs) != 4 || runs[0].Virtual != 0 || runs[0].Length != block || runs[0].Time != 0 || runs[1].Time != 1 || runs[3].Virtual != 9*block {
		t.Errorf("got %+v", runs)
	}
	for _, run := range runs {
		owners, err := f.vault.Owners(ctx, run.Data+1, run.Data+2)
		check(t, err)
		i := slices.IndexFunc(owners, func(o thinpool.Owner) bool { return o.Name == "web" })
		if i < 0 || owners[i].Virtual != run.Virtual || owners[i].Data != run.Data {
			t.Errorf("run %+v: got owners %+v", run, owners)
		}
		if both := len(owners) == 2; both != (run.Time == 0) {
			t.Errorf("run %+v: got owners %+v", run, owners)
		}
	}

	delta, err := f.vault.VolumeDelta(ctx, "base", "web", true)
	check(t, err)
	var sums [4]units.Bytes
	for _, d := range delta.Differences {
		sums[d.Kind] += d.Length / block
	}
	if sums != [4]units.Bytes{metadata.Same: 3, metadata.Different: 1, metadata.LeftOnly: 0, metadata.RightOnly: 1} {
		t.Errorf("got %+v", delta)
	}
	short, err := f.vault.VolumeDelta(ctx, "base", "web", false)
	if err != nil || len(short.Differences) != 2 || short.Block != block {
		t.Errorf("got %+v, %v", short, err)
	}

	for _, err := range []error{
		second(f.vault.VolumeMap(ctx, "none")), second(f.vault.VolumeDelta(ctx, "base", "none", false)),
	} {
		wantError(t, err, []error{fault.NotFound}, "vault/none")
	}
	for _, err := range []error{second(f.vault.Owners(ctx, 5, 5)), second(f.vault.Owners(ctx, 64*units.MiB, 65*units.MiB))} {
		wantError(t, err, []error{fault.Invalid}, "pool vault")
	}
	check(t, f.vault.DeactivateVolume(ctx, "web"))
	f.send("delete 2")
	err = second(f.vault.VolumeMap(ctx, "web"))
	wantError(t, err, []error{fault.Unhealthy, metadata.ErrNoDevice}, "vault/web")
	wantCure(t, err, thinpool.CureCheck)
	f.clean()
}

func second[T any](_ T, err error) error { return err }

// leaking is a kernel with allocated data blocks that no volume maps.
type leaking struct {
	dm.Kernel
	blocks uint64
}

func (k leaking) Status(ctx context.Context, ref dm.Ref, o dm.StatusOptions) (dm.Info, []dm.Line, error) {
	info, lines, err := k.Kernel.Status(ctx, ref, o)
	if err == nil && len(lines) == 1 && lines[0].Type == dm.TypeThinPool {
		var status dm.PoolStatus
		if status, err = dm.ParsePoolStatus(lines[0]); err == nil {
			status.UsedData += k.blocks
			lines[0] = status.Line(lines[0].Length)
		}
	}
	return info, lines, err
}

// TestUsageUnmapped checks that Usage reports allocated blocks that no volume maps, on an
// active and on an inactive pool.
func TestUsageUnmapped(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	check(t, f.Kernel.WriteStamp(f.base.Dev, 2, 1))
	host := f.Host()
	for _, blocks := range []uint64{0, 3} {
		host.Kernel = leaking{f.Host().Kernel, blocks}
		vault, err := thinpool.Open(ctx, host, f.Root, "vault")
		check(t, err)
		u, err := vault.Usage(ctx, thinpool.UsageOptions{})
		check(t, err)
		if u.Unmapped != units.Bytes(blocks)*block || u.Used != 2*block {
			t.Errorf("with %d blocks leaked: got %s used, %s unmapped", blocks, u.Used, u.Unmapped)
		}
	}
	check(t, f.vault.DeactivateVolume(ctx, "base"))
	check(t, f.vault.Deactivate(ctx))
	u, err := f.vault.Usage(ctx, thinpool.UsageOptions{})
	check(t, err)
	if u.Used != 2*block || u.Unmapped != 0 {
		t.Errorf("inactive: got %s used, %s unmapped", u.Used, u.Unmapped)
	}
}
