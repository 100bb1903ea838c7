package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/docs/runbooks"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool/store"
)

func TestConditions(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, test := range []struct {
		want   string
		change func(*seen)
	}{
		{"", func(*seen) {}},
		{"data-low", func(o *seen) { o.data.passed, o.extending = true, false }},
		{"", func(o *seen) { o.data.passed = true }}, // it cools down, or is extended in a moment
		{"at-maximum data-low", func(o *seen) { o.data.passed, o.data.blocked = true, metrics.AtMaximum }},
		{"data-low host-low", func(o *seen) { o.data.passed, o.data.blocked = true, metrics.NoHostSpace }},
		{"data-low", func(o *seen) { o.data.passed, o.data.blocked = true, metrics.Refused }},
		{"data-low extend-failed", func(o *seen) {
			o.data.passed, o.data.last = true, attempt{result: metrics.Failed, err: errors.New("no")}
		}},
		{"data-low extend-failed", func(o *seen) {
			o.data.passed, o.data.last = true, attempt{result: metrics.Refused, err: errors.New("no")}
		}},
		{"", func(o *seen) { o.data.last = attempt{result: metrics.Failed, err: errors.New("no")} }},
		{"metadata-low", func(o *seen) { o.metadata.passed, o.extending = true, false }},
		{"at-maximum metadata-low", func(o *seen) { o.metadata.passed, o.metadata.blocked = true, metrics.AtMaximum }},
		{"data-full", func(o *seen) { o.sample.Status.Kernel.Mode = dm.ModeOutOfDataSpace }},
		{"data-full", func(o *seen) { o.sample.Status.Kernel.UsedData, o.data.passed, o.extending = 1000, true, false }},
		{"metadata-full", func(o *seen) {
			o.sample.Status.Kernel.UsedMetadata, o.sample.Status.Kernel.Mode = 1000, dm.ModeReadOnly
		}},
		{"metadata-full needs-check pool-read-only", func(o *seen) {
			k := &o.sample.Status.Kernel
			k.UsedMetadata, k.Mode, k.NeedsCheck = 1000, dm.ModeReadOnly, true
		}},
		{"needs-check pool-read-only", func(o *seen) {
			o.sample.Status.Kernel.Mode, o.sample.Status.Kernel.NeedsCheck = dm.ModeReadOnly, true
		}},
		{"pool-read-only", func(o *seen) { o.sample.Status.Kernel.Mode = dm.ModeReadOnly }},
		{"pool-failed", func(o *seen) { o.sample.Status.Kernel = dm.PoolStatus{Mode: dm.ModeFail} }},
		{"pool-inactive", func(o *seen) { o.sample.Status.Active = false }},
		{"", func(o *seen) { o.sample.Status.Active, o.sample.Status.Record.Activated = false, false }},
		{"host-low", func(o *seen) { o.sample.Status.Host.Available = 4 * gi }},
		{"host-full", func(o *seen) { o.sample.Status.Host.Available = 0 }},
		{"host-full", func(o *seen) { o.sample.Status.Host.Free = 15 * mi }},
		{"", func(o *seen) { o.sample.Status.Host = nil }},
		{"held-root", func(o *seen) { o.foreignRoot = true }},
		{"removal-waiting", func(o *seen) { o.waiting = now.Add(-time.Hour - 1) }},
		{"", func(o *seen) { o.waiting = now.Add(-time.Hour) }},
		{"leak", func(o *seen) { o.leaked = 1 }},
		{"scan-stale", func(o *seen) { o.scanEvery, o.lastScan = time.Hour, now.Add(-5*time.Hour-1) }},
		{"", func(o *seen) { o.lastScan = now.Add(-500 * time.Hour) }},
		{"", func(o *seen) { o.sample.Err, o.sample.Status.Active = errors.New("busy"), false }},
		{"sample-stale", func(o *seen) { o.sample.Err, o.lastGood = errors.New("busy"), now.Add(-76*time.Second) }},
		{"pool-gone sample-stale", func(o *seen) { o.gone, o.lastGood = true, now.Add(-76*time.Second) }},
	} {
		o := seen{now: now, lastGood: now, lastScan: now, interval: 15 * time.Second, extending: true}
		s := &o.sample.Status
		s.Active, s.Record = true, store.Pool{Activated: true, Reserve: store.Reserve{Host: 5}}
		s.Kernel = dm.PoolStatus{UsedData: 10, TotalData: 1000, UsedMetadata: 10, TotalMetadata: 1000}
		s.Host = &loopback.Space{Total: 100 * gi, Free: 60 * gi, Available: 50 * gi}
		test.change(&o)
		if got := strings.Join(conditions(o), " "); got != test.want {
			t.Errorf("%q, want %q, of %+v", got, test.want, o)
		}
	}
}

// Each code has a runbook, and each runbook of a code a condition.
func TestCodesHaveRunbooks(t *testing.T) {
	if got, want := runbooks.Codes(), Codes(); !slices.Equal(got, want) {
		t.Errorf("runbooks %v, conditions %v", got, want)
	}
}
