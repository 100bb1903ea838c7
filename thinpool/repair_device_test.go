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
	w := &repairFixture{fixture: s, meta: s.file("metadata")}
	options := thinpooltest.SmallPool()
	if onDevices {
		w.meta = s.AddDevice(t, "sdb", 4*units.MiB)
		options.DataDevice, options.MetadataDevice, options.DataSize, options.MetadataSize = s.AddDevice(t, "sda", 64*units.MiB), w.meta, 0, 0
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
	w.damaged, err = os.ReadFile(w.meta)
	check(t, err)
	w.Damage[w.meta] = func(block uint64, b []byte) {
		if block != 0 && metadata.KindOf(b) == metadata.NodeBlock {
			b[100] ^= 1
		}
	}
	return w
}

// reopened opens the pool as a new process does.
func (w *repairFixture) reopened() *thinpool.Pool {
	w.t.Helper()
	pool, err := thinpool.Open(w.t.Context(), w.Host(), w.Root, "vault")
	check(w.t, err)
	return pool
}

func (w *repairFixture) exists(name string) bool {
	_, err := os.Lstat(w.file(name))
	return err == nil
}

// copies returns the number of kept copies of the damaged metadata. Each must be complete.
func (w *repairFixture) copies() int {
	w.t.Helper()
	names, err := filepath.Glob(w.file("metadata.damaged-*"))
	check(w.t, err)
	for _, name := range names {
		info, err := os.Stat(name)
		check(w.t, err)
		if info.Mode() != 0o600 {
			w.t.Errorf("%s: %s", name, info.Mode())
		}
		if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, w.damaged) || w.Damage[name] == nil {
			w.t.Errorf("%s: got %d bytes that differ from the damaged metadata, %v", name, len(b), err)
		}
	}
	return len(names)
}

func (w *repairFixture) findings() []string {
	w.t.Helper()
	report, err := w.reopened().Check(w.t.Context())
	check(w.t, err)
	return codes(report.Findings)
}

func (w *repairFixture) recovered() {
	w.t.Helper()
	if got := w.findings(); len(got) > 0 {
		w.t.Errorf("after the repair: got findings %q, want none", got)
	}
	for _, name := range []string{"metadata.rebuilt", "metadata.copying", "metadata.restoring"} {
		if w.exists(name) {
			w.t.Errorf("%s was left", name)
		}
	}
	w.vault = w.reopened()
	check(w.t, w.vault.Activate(w.t.Context()))
	w.baseIs(42)
	w.idle()
	if violations := w.Kernel.Violations(); len(violations) != 0 {
		w.t.Error(violations)
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
			w := newRepairFixture(t, true)
			w.cutOffOnDevice()
			return w
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

func repairStopped(t *testing.T, w *repairFixture, n int, phase thinpooltest.Phase, power bool, seen map[string]int) bool {
	t.Helper()
	ctx := t.Context()
	w.StopAt(n, phase)
	var repair thinpool.Repair
	pool, result := thinpool.Open(ctx, w.Host(), w.Root, "vault")
	if result == nil {
		repair, result = pool.Repair(ctx, thinpool.RepairOptions{})
	}
	step, stopped := w.Restart()
	if power {
		w.PowerOff(t)
	}
	defer func() {
		if t.Failed() {
			t.Logf("stopped %s step %d (%s), the repair returned %v", [...]string{"before", "after"}[phase], n, step, result)
		}
	}()
	now := w.state()
	seen[now]++
	kept := w.copies()
	if now != "untouched" && kept == 0 {
		t.Errorf("%s, and no damaged copy is kept", now)
	}
	if result == nil && len(repair.Left) == 0 && now != "repaired" {
		t.Errorf("acknowledged: got state %q, want %q", now, "repaired")
	}
	if _, err := w.reopened().Repair(ctx, thinpool.RepairOptions{}); err != nil {
		t.Errorf("the next repair: %v", err)
	}
	if w.copies() == 0 {
		t.Error("no damaged copy is kept")
	}
	w.recovered()
	check(t, w.vault.Destroy(ctx))
	if _, err := os.Stat(w.vault.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	return stopped && !t.Failed()
}

// state returns the state that a stopped repair left: untouched, cut off or repaired. The
// pool must not start if the repair was cut off.
func (w *repairFixture) state() string {
	w.t.Helper()
	now, err := os.ReadFile(w.meta)
	cutOff := errors.Is(err, os.ErrNotExist) || w.exists("metadata.restoring")
	switch {
	case cutOff:
		if err := w.reopened().Activate(w.t.Context()); !errors.Is(err, fault.Unhealthy) || !strings.Contains(err.Error(), "thinctl pool repair vault") {
			w.t.Errorf("activated in the middle of a repair: %v", err)
		}
		plan, err := w.reopened().Repair(w.t.Context(), thinpool.RepairOptions{DryRun: true})
		if err != nil || len(plan.Actions) != 1 || !strings.HasPrefix(plan.Actions[0], "put the rebuilt metadata ") {
			w.t.Errorf("dry run: got actions %q, %v", plan.Actions, err)
		}
		return "cut off"
	case w.Damage[w.meta] != nil:
		if !bytes.Equal(now, w.damaged) {
			w.t.Error("the damaged metadata changed")
		}
		return "untouched"
	}
	if got := w.findings(); len(got) > 0 {
		w.t.Errorf("got findings %q, want none", got)
	}
	return "repaired"
}

// TestRepairOfADeviceRefuses checks that a refused repair of a device changes nothing.
func TestRepairOfADeviceRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		given func(w *repairFixture)
		kind  error
		texts []string
	}{
		"no space on the host": {
			given: func(w *repairFixture) {
				w.Space = func() loopback.Space { return loopback.Space{Total: units.GiB, Available: 8*units.MiB - 1} }
			},
			kind: thinpool.ErrReserve, texts: []string{"need 8M", "free some of it"},
		},
		"another pool's device": {
			given: func(w *repairFixture) {
				b := bytes.Clone(w.damaged)
				b[16] ^= 1 // the uuid
				metadata.SetChecksum(b[:metadata.BlockSize], metadata.SuperblockBlock)
				check(w.t, os.WriteFile(w.meta, b, 0o600))
			},
			kind: thinpool.ErrSwapped, texts: []string{"put this pool's own metadata back"},
		},
		"a smaller device": {
			given: func(w *repairFixture) { check(w.t, os.Truncate(w.meta, int64(3*units.MiB))) },
			texts: []string{"has 3M, the pool needs 4M; put the larger device back"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRepairFixture(t, true)
			c.given(w)
			before, err := os.ReadFile(w.meta)
			check(t, err)
			repair, err := w.reopened().Repair(t.Context(), thinpool.RepairOptions{})
			got := fmt.Sprint(err, repair.Left)
			if err == nil && len(repair.Left) == 0 || err != nil && c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", got, c.kind)
			}
			for _, text := range append(c.texts, "vault") {
				if !strings.Contains(got, text) {
					t.Errorf("got %s, want it to contain %q", got, text)
				}
			}
			after, err := os.ReadFile(w.meta)
			check(t, err)
			if !bytes.Equal(after, before) {
				t.Error("the device was changed")
			}
			if left, err := filepath.Glob(w.file("metadata*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

// TestRepairOfALargerDevice checks that a device that has grown gets metadata of its new
// size.
func TestRepairOfALargerDevice(t *testing.T) {
	w := newRepairFixture(t, true)
	check(t, os.Truncate(w.meta, int64(6*units.MiB+1000)))
	w.damaged = append(w.damaged, make([]byte, 2*units.MiB)...) // without the incomplete last block
	w.PowerOff(t)
	repair, err := w.reopened().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	t.Logf("%+v", repair)
	if w.copies() != 1 {
		t.Error("no damaged copy")
	}
	w.recovered()
}

// TestRepairIsNotFinishedOnAnother checks that a repair is not finished on a device of another
// pool or on a smaller one. It is finished when the original device is back.
func TestRepairIsNotFinishedOnAnother(t *testing.T) {
	w := newRepairFixture(t, true)
	ctx := t.Context()
	w.cutOffOnDevice()
	own, err := os.ReadFile(w.meta)
	check(t, err)
	other := bytes.Clone(own)
	other[16] ^= 1
	for kind, content := range map[error][]byte{
		metadata.ErrOtherPool: other, metadata.ErrNotMetadata: bytes.Repeat([]byte{7}, len(own)), metadata.ErrTruncated: own[:3*units.MiB],
	} {
		check(t, os.WriteFile(w.meta, content, 0o600))
		if _, err := w.reopened().Repair(ctx, thinpool.RepairOptions{}); !errors.Is(err, kind) || !strings.Contains(err.Error(), "run `thinctl pool repair vault` again") {
			t.Errorf("got %v, want %v", err, kind)
		}
		if now, err := os.ReadFile(w.meta); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%v: the device was overwritten", kind)
		}
	}
	check(t, os.WriteFile(w.meta, own, 0o600))
	_, err = w.reopened().Repair(ctx, thinpool.RepairOptions{})
	check(t, err)
	w.recovered()
}

// TestRepairOfADeviceCancelled checks the error of a repair that is cancelled while it writes
// the device, and that the next repair finishes it.
func TestRepairOfADeviceCancelled(t *testing.T) {
	w := newRepairFixture(t, true)
	if err := w.cutOffOnDevice(); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "metadata.restoring") {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := w.Kernel.Info(t.Context(), dm.ByName("thinctl-vault")); err == nil {
		t.Error("the pool is active")
	}
	if got := w.state(); got != "cut off" {
		t.Error(got)
	}
	repair, err := w.reopened().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	if b, err := os.ReadFile(repair.Damaged); err != nil || !bytes.Equal(b, w.damaged) {
		t.Errorf("damaged copy: got %q, %v", repair.Damaged, err)
	}
	w.recovered()
}

// cutOffOnDevice stops a repair when the device holds neither the old metadata nor the new.
func (w *repairFixture) cutOffOnDevice() error {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	host := w.Host()
	host.Disks = cancelling{host.Disks, w.meta, cancel}
	pool, err := thinpool.Open(ctx, host, w.Root, "vault")
	check(w.t, err)
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
