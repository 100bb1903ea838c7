package thinpool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// repairFixture is a fixture with the inactive pool vault, on files or on devices, whose
// metadata have damaged nodes.
type repairFixture struct {
	*fixture
	meta    string // path of the metadata
	damaged []byte // its contents
}

func newRepairFixture(t *testing.T, onDevices bool) *repairFixture {
	t.Helper()
	s := &fixture{Fixture: thinpooltest.New(t), t: t}
	s.host = s.Host()
	f := &repairFixture{fixture: s, meta: s.file("metadata")}
	options := thinpooltest.SmallPool()
	if onDevices {
		f.meta = s.AddDevice(t, "sdb", 4*units.MiB)
		options.DataDevice, options.MetadataDevice, options.DataSize, options.MetadataSize = s.AddDevice(t, "sda", 64*units.MiB), f.meta, 0, 0
	}
	ctx := t.Context()
	var err error
	s.vault, err = thinpool.Create(ctx, s.host, s.Root, "vault", options)
	check(t, err)
	s.base, err = s.vault.CreateVolume(ctx, "base", thinpool.VolumeOptions{})
	check(t, err)
	s.base, err = s.vault.ActivateVolume(ctx, "base")
	check(t, err)
	check(t, s.Kernel.WriteStamp(s.base.Dev, 0, 42))
	s.idle()
	f.damaged, err = os.ReadFile(f.meta)
	check(t, err)
	f.Damage[f.meta] = func(block uint64, b []byte) {
		if block != 0 && metadata.KindOf(b) == metadata.NodeBlock {
			b[100] ^= 1
		}
	}
	return f
}

// reopened opens the pool as a new process does.
func (f *repairFixture) reopened() *thinpool.Pool {
	f.t.Helper()
	pool, err := thinpool.Open(f.t.Context(), f.Host(), f.Root, "vault")
	check(f.t, err)
	return pool
}

func (f *repairFixture) exists(name string) bool {
	_, err := os.Lstat(f.file(name))
	return err == nil
}

// copies returns the number of kept copies of the damaged metadata. Each must be complete.
func (f *repairFixture) copies() int {
	f.t.Helper()
	names, err := filepath.Glob(f.file("metadata.damaged-*"))
	check(f.t, err)
	for _, name := range names {
		info, err := os.Stat(name)
		check(f.t, err)
		if info.Mode() != 0o600 {
			f.t.Errorf("%s: got mode %s", name, info.Mode())
		}
		if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, f.damaged) || f.Damage[name] == nil {
			f.t.Errorf("%s: got %d bytes that differ from the damaged metadata, %v", name, len(b), err)
		}
	}
	return len(names)
}

func (f *repairFixture) findings() []string {
	f.t.Helper()
	report, err := f.reopened().Check(f.t.Context())
	check(f.t, err)
	return codes(report.Findings)
}

func (f *repairFixture) recovered() {
	f.t.Helper()
	if got := f.findings(); len(got) > 0 {
		f.t.Errorf("after the repair: got findings %q, want none", got)
	}
	for _, name := range []string{"metadata.rebuilt", "metadata.copying", "metadata.restoring"} {
		if f.exists(name) {
			f.t.Errorf("%s was left", name)
		}
	}
	f.vault = f.reopened()
	check(f.t, f.vault.Activate(f.t.Context()))
	f.baseIs(42)
	f.idle()
	if violations := f.Kernel.Violations(); len(violations) != 0 {
		f.t.Error(violations)
	}
}

// TestRepairStoppedAtEveryStep stops a repair at each step. The metadata must be unchanged or
// repaired, or the pool refuses to start until the next repair has finished. After the first
// change a complete copy of the damaged metadata must exist.
func TestRepairStoppedAtEveryStep(t *testing.T) {
	for _, begin := range []struct {
		name   string
		states []string // that must occur
		given  func(t *testing.T) *repairFixture
	}{
		{"files", []string{"untouched", "cut off", "repaired"}, func(t *testing.T) *repairFixture { return newRepairFixture(t, false) }},
		{"devices", []string{"untouched", "cut off", "repaired"}, func(t *testing.T) *repairFixture { return newRepairFixture(t, true) }},
		{"devices, cut off", []string{"cut off", "repaired"}, func(t *testing.T) *repairFixture {
			f := newRepairFixture(t, true)
			f.cutOffOnDevice()
			return f
		}},
	} {
		for _, phase := range []thinpooltest.Phase{thinpooltest.Before, thinpooltest.After} {
			for _, power := range []bool{false, true} {
				name := fmt.Sprintf("%s/%s/%s", begin.name, [...]string{"before", "after"}[phase], map[bool]string{false: "killed", true: "power cut"}[power])
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					seen := map[string]int{}
					for n := 1; repairStopped(t, begin.given(t), n, phase, power, seen); n++ {
					}
					t.Logf("%v", seen)
					for _, state := range begin.states {
						if seen[state] == 0 {
							t.Errorf("got no state %q", state)
						}
					}
				})
			}
		}
	}
}

func repairStopped(t *testing.T, f *repairFixture, n int, phase thinpooltest.Phase, power bool, seen map[string]int) bool {
	t.Helper()
	ctx := t.Context()
	f.StopAt(n, phase)
	var repair thinpool.Repair
	pool, result := thinpool.Open(ctx, f.Host(), f.Root, "vault")
	if result == nil {
		repair, result = pool.Repair(ctx, thinpool.RepairOptions{})
	}
	step, stopped := f.Restart()
	if power {
		f.PowerOff(t)
	}
	defer func() {
		if t.Failed() {
			t.Logf("stopped %s step %d (%s), the repair returned %v", [...]string{"before", "after"}[phase], n, step, result)
		}
	}()
	now := f.state()
	seen[now]++
	kept := f.copies()
	if now != "untouched" && kept == 0 {
		t.Errorf("%s: got no copy of the damaged metadata", now)
	}
	if result == nil && len(repair.Left) == 0 && now != "repaired" {
		t.Errorf("acknowledged: got state %q, want %q", now, "repaired")
	}
	if _, err := f.reopened().Repair(ctx, thinpool.RepairOptions{}); err != nil {
		t.Errorf("the next repair: %v", err)
	}
	if f.copies() == 0 {
		t.Error("no damaged copy is kept")
	}
	f.recovered()
	check(t, f.vault.Destroy(ctx))
	if _, err := os.Stat(f.vault.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	return stopped && !t.Failed()
}

// state returns the state that a stopped repair left: untouched, cut off or repaired. The
// pool must not start if the repair was cut off.
func (f *repairFixture) state() string {
	f.t.Helper()
	now, err := os.ReadFile(f.meta)
	cutOff := errors.Is(err, os.ErrNotExist) || f.exists("metadata.restoring")
	switch {
	case cutOff:
		err := f.reopened().Activate(f.t.Context())
		if !errors.Is(err, fault.Unhealthy) {
			f.t.Errorf("activated in the middle of a repair: %v", err)
		}
		wantCure(f.t, err, thinpool.CureRepair)
		plan, err := f.reopened().Repair(f.t.Context(), thinpool.RepairOptions{DryRun: true})
		if err != nil || len(plan.Actions) != 1 || !strings.HasPrefix(plan.Actions[0], "put the rebuilt metadata ") {
			f.t.Errorf("dry run: got actions %q, %v", plan.Actions, err)
		}
		return "cut off"
	case f.Damage[f.meta] != nil:
		if !bytes.Equal(now, f.damaged) {
			f.t.Error("the damaged metadata changed")
		}
		return "untouched"
	}
	if got := f.findings(); len(got) > 0 {
		f.t.Errorf("got findings %q, want none", got)
	}
	return "repaired"
}

// TestRepairOfADeviceRefuses checks that a refused repair of a device changes nothing.
func TestRepairOfADeviceRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		given func(f *repairFixture)
		kind  error
		texts []string
	}{
		"no space on the host": {
			given: func(f *repairFixture) {
				f.Space = func() loopback.Space { return loopback.Space{Total: units.GiB, Available: 8*units.MiB - 1} }
			},
			kind: thinpool.ErrReserve, texts: []string{"need 8M", "free some of it"},
		},
		"another pool's device": {
			given: func(f *repairFixture) {
				b := bytes.Clone(f.damaged)
				b[16] ^= 1 // the uuid
				metadata.SetChecksum(b[:metadata.BlockSize], metadata.SuperblockBlock)
				check(f.t, os.WriteFile(f.meta, b, 0o600))
			},
			kind: thinpool.ErrSwapped, texts: []string{"put this pool's own metadata back"},
		},
		"a smaller device": {
			given: func(f *repairFixture) { check(f.t, os.Truncate(f.meta, int64(3*units.MiB))) },
			texts: []string{"has 3M, the pool needs 4M; put the larger device back"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newRepairFixture(t, true)
			c.given(f)
			before, err := os.ReadFile(f.meta)
			check(t, err)
			repair, err := f.reopened().Repair(t.Context(), thinpool.RepairOptions{})
			got := fmt.Sprint(err, repair.Left)
			if err == nil && len(repair.Left) == 0 || err != nil && c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", got, c.kind)
			}
			for _, text := range append(c.texts, "vault") {
				if !strings.Contains(got, text) {
					t.Errorf("got %s, want it to contain %q", got, text)
				}
			}
			after, err := os.ReadFile(f.meta)
			check(t, err)
			if !bytes.Equal(after, before) {
				t.Error("the device was changed")
			}
			if left, err := filepath.Glob(f.file("metadata*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

// TestRepairOfALargerDevice checks that a device that has grown gets metadata of its new
// size.
func TestRepairOfALargerDevice(t *testing.T) {
	f := newRepairFixture(t, true)
	check(t, os.Truncate(f.meta, int64(6*units.MiB+1000)))
	f.damaged = append(f.damaged, make([]byte, 2*units.MiB)...) // without the incomplete last block
	f.PowerOff(t)
	repair, err := f.reopened().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	t.Logf("%+v", repair)
	if f.copies() != 1 {
		t.Error("no damaged copy")
	}
	f.recovered()
}

// TestRepairIsNotFinishedOnAnother checks that a repair is not finished on a device of another
// pool or on a smaller one. It is finished when the original device is back.
func TestRepairIsNotFinishedOnAnother(t *testing.T) {
	f := newRepairFixture(t, true)
	ctx := t.Context()
	f.cutOffOnDevice()
	own, err := os.ReadFile(f.meta)
	check(t, err)
	other := bytes.Clone(own)
	other[16] ^= 1
	for kind, content := range map[error][]byte{
		metadata.ErrOtherPool: other, metadata.ErrNotMetadata: bytes.Repeat([]byte{7}, len(own)), metadata.ErrTruncated: own[:3*units.MiB],
	} {
		check(t, os.WriteFile(f.meta, content, 0o600))
		_, err := f.reopened().Repair(ctx, thinpool.RepairOptions{})
		if !errors.Is(err, kind) {
			t.Errorf("got %v, want %v", err, kind)
		}
		wantCure(t, err, thinpool.CureRepairAgain)
		if now, err := os.ReadFile(f.meta); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%v: the device was overwritten", kind)
		}
	}
	check(t, os.WriteFile(f.meta, own, 0o600))
	_, err = f.reopened().Repair(ctx, thinpool.RepairOptions{})
	check(t, err)
	f.recovered()
}

// TestRepairOfADeviceCancelled checks the error of a repair that is cancelled while it writes
// the device, and that the next repair finishes it.
func TestRepairOfADeviceCancelled(t *testing.T) {
	f := newRepairFixture(t, true)
	if err := f.cutOffOnDevice(); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "metadata.restoring") {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.Kernel.Info(t.Context(), dm.ByName("thinctl-vault")); err == nil {
		t.Error("the pool is active")
	}
	if got := f.state(); got != "cut off" {
		t.Error(got)
	}
	repair, err := f.reopened().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	if b, err := os.ReadFile(repair.Damaged); err != nil || !bytes.Equal(b, f.damaged) {
		t.Errorf("damaged copy: got %q, %v", repair.Damaged, err)
	}
	f.recovered()
}

// cutOffOnDevice stops a repair when the device holds neither the old metadata nor the new.
func (f *repairFixture) cutOffOnDevice() error {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	host := f.Host()
	host.Disks = cancelling{host.Disks, f.meta, cancel}
	pool, err := thinpool.Open(ctx, host, f.Root, "vault")
	check(f.t, err)
	_, err = pool.Repair(ctx, thinpool.RepairOptions{})
	return err
}

type cancelling struct {
	thinpool.Disks
	at     string
	cancel context.CancelFunc
}

func (d cancelling) CopyMetadata(ctx context.Context, from, to string, size units.Bytes) error {
	if to == d.at {
		d.cancel()
	}
	return d.Disks.CopyMetadata(ctx, from, to, size)
}
