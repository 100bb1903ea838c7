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

// ward is a world with the inactive pool vault, on files or on devices, whose
// metadata has broken nodes.
type ward struct {
	*stage
	meta    string // where the metadata is
	damaged []byte // what it holds
}

func newWard(t *testing.T, onDevices bool) *ward {
	t.Helper()
	s := &stage{Fixture: thinpooltest.New(t), t: t}
	s.host = s.Host()
	w := &ward{stage: s, meta: s.file("metadata")}
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

// reopened is the pool of a new process.
func (w *ward) reopened() *thinpool.Pool {
	w.t.Helper()
	pool, err := thinpool.Open(w.t.Context(), w.Host(), w.Root, "vault")
	check(w.t, err)
	return pool
}

func (w *ward) there(name string) bool {
	_, err := os.Lstat(w.file(name))
	return err == nil
}

// copies counts the damaged metadata that is kept; each has to be whole.
func (w *ward) copies() int {
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
			w.t.Errorf("%s is not what was found: %d bytes, %v", name, len(b), err)
		}
	}
	return len(names)
}

func (w *ward) findings() []string {
	w.t.Helper()
	report, err := w.reopened().Check(w.t.Context())
	check(w.t, err)
	return codes(report.Findings)
}

func (w *ward) recovered() {
	w.t.Helper()
	if got := w.findings(); len(got) > 0 {
		w.t.Errorf("after the repair: %q", got)
	}
	for _, name := range []string{"metadata.rebuilt", "metadata.copying", "metadata.restoring"} {
		if w.there(name) {
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

// A process that is stopped at any step of a repair leaves the metadata as it
// was, or whole, or a pool that is not started until the next repair has ended
// the work; a whole copy of what was damaged is there once anything changed.
func TestRepairStoppedAtEveryStep(t *testing.T) {
	for _, begin := range []struct {
		name   string
		states []string // that are seen, among them
		given  func(t *testing.T) *ward
	}{
		{"files", []string{"untouched", "cut off", "repaired"}, func(t *testing.T) *ward { return newWard(t, false) }},
		{"devices", []string{"untouched", "cut off", "repaired"}, func(t *testing.T) *ward { return newWard(t, true) }},
		{"devices, cut off", []string{"cut off", "repaired"}, func(t *testing.T) *ward {
			w := newWard(t, true)
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
							t.Errorf("never %s", state)
						}
					}
				})
			}
		}
	}
}

func repairStopped(t *testing.T, w *ward, n int, phase thinpooltest.Phase, power bool, seen map[string]int) bool {
	t.Helper()
	ctx := t.Context()
	w.StopAt(n, phase)
	var repair thinpool.Repair
	pool, said := thinpool.Open(ctx, w.Host(), w.Root, "vault")
	if said == nil {
		repair, said = pool.Repair(ctx, thinpool.RepairOptions{})
	}
	step, stopped := w.Restart()
	if power {
		w.PowerOff(t)
	}
	defer func() {
		if t.Failed() {
			t.Logf("stopped %s step %d (%s), the repair said: %v", [...]string{"before", "after"}[phase], n, step, said)
		}
	}()
	now := w.state()
	seen[now]++
	kept := w.copies()
	if now != "untouched" && kept == 0 {
		t.Errorf("%s, and no damaged copy is kept", now)
	}
	if said == nil && len(repair.Left) == 0 && now != "repaired" {
		t.Errorf("acknowledged, yet %s", now)
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

// state tells what a stopped repair left; the pool must not start on what is
// neither.
func (w *ward) state() string {
	w.t.Helper()
	now, err := os.ReadFile(w.meta)
	cutOff := errors.Is(err, os.ErrNotExist) || w.there("metadata.restoring")
	switch {
	case cutOff:
		if err := w.reopened().Activate(w.t.Context()); !errors.Is(err, fault.Unhealthy) || !strings.Contains(err.Error(), "thinctl pool repair vault") {
			w.t.Errorf("activated in the middle of a repair: %v", err)
		}
		plan, err := w.reopened().Repair(w.t.Context(), thinpool.RepairOptions{DryRun: true})
		if err != nil || len(plan.Actions) != 1 || !strings.HasPrefix(plan.Actions[0], "put the rebuilt metadata ") {
			w.t.Errorf("the dry run says %q, %v", plan.Actions, err)
		}
		return "cut off"
	case w.Damage[w.meta] != nil:
		if !bytes.Equal(now, w.damaged) {
			w.t.Error("it was changed, and is damaged")
		}
		return "untouched"
	}
	if got := w.findings(); len(got) > 0 {
		w.t.Errorf("found %q", got)
	}
	return "repaired"
}

// What a repair of a device must not begin changes nothing.
func TestRepairOfADeviceRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		given func(w *ward)
		kind  error
		says  []string
	}{
		"no room on the host": {
			given: func(w *ward) {
				w.Space = func() loopback.Space { return loopback.Space{Total: units.GiB, Available: 8*units.MiB - 1} }
			},
			kind: thinpool.ErrReserve, says: []string{"need 8M", "free some of it"},
		},
		"another pool's device": {
			given: func(w *ward) {
				b := bytes.Clone(w.damaged)
				b[16] ^= 1 // the uuid
				metadata.SetChecksum(b[:metadata.BlockSize], metadata.SuperblockBlock)
				check(w.t, os.WriteFile(w.meta, b, 0o600))
			},
			kind: thinpool.ErrSwapped, says: []string{"put this pool's own metadata back"},
		},
		"a smaller device": {
			given: func(w *ward) { check(w.t, os.Truncate(w.meta, int64(3*units.MiB))) },
			says:  []string{"has 3M, the pool needs 4M; put the larger device back"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, true)
			c.given(w)
			before, err := os.ReadFile(w.meta)
			check(t, err)
			repair, err := w.reopened().Repair(t.Context(), thinpool.RepairOptions{})
			said := fmt.Sprint(err, repair.Left)
			if err == nil && len(repair.Left) == 0 || err != nil && c.kind != nil && !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", said, c.kind)
			}
			for _, text := range append(c.says, "vault") {
				if !strings.Contains(said, text) {
					t.Errorf("got %s, want it to contain %q", said, text)
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

// A device that has grown since gets metadata of its size.
func TestRepairOfALargerDevice(t *testing.T) {
	w := newWard(t, true)
	check(t, os.Truncate(w.meta, int64(6*units.MiB+1000)))
	w.damaged = append(w.damaged, make([]byte, 2*units.MiB)...) // what is no whole block is not the kernel's
	w.PowerOff(t)
	repair, err := w.reopened().Repair(t.Context(), thinpool.RepairOptions{})
	check(t, err)
	t.Logf("%+v", repair)
	if w.copies() != 1 {
		t.Error("no damaged copy")
	}
	w.recovered()
}

// A repair is not finished on a device that has become another's, or smaller;
// once the right one is back, it is.
func TestRepairIsNotFinishedOnAnother(t *testing.T) {
	w := newWard(t, true)
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
			t.Errorf("written over, for all of %v", kind)
		}
	}
	check(t, os.WriteFile(w.meta, own, 0o600))
	_, err = w.reopened().Repair(ctx, thinpool.RepairOptions{})
	check(t, err)
	w.recovered()
}

// A repair that is cancelled while it writes the device says so, and is ended by
// the next.
func TestRepairOfADeviceCancelled(t *testing.T) {
	w := newWard(t, true)
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
		t.Errorf("the damaged copy is said to be %q: %v", repair.Damaged, err)
	}
	w.recovered()
}

// cutOffOnDevice repairs until the device's blocks are of neither the old
// metadata nor the new.
func (w *ward) cutOffOnDevice() error {
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
