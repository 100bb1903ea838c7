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
	"thinctl/thinpool"
)

func TestConditions(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, test := range []struct {
		want   string
		change func(*assessment)
	}{
		{"", func(*assessment) {}},
		{"data-low", func(a *assessment) { a.data.passed, a.extending = true, false }},
		{"", func(a *assessment) { a.data.passed = true }}, // it cools down, or is about to be extended
		{"at-maximum data-low", func(a *assessment) { a.data.passed, a.data.blocked = true, metrics.AtMaximum }},
		{"data-low host-low", func(a *assessment) { a.data.passed, a.data.blocked = true, metrics.NoHostSpace }},
		{"data-low", func(a *assessment) { a.data.passed, a.data.blocked = true, metrics.Refused }},
		{"data-low extend-failed", func(a *assessment) {
			a.data.passed, a.data.last = true, attempt{result: metrics.Failed, err: errors.New("no")}
		}},
		{"data-low extend-failed", func(a *assessment) {
			a.data.passed, a.data.last = true, attempt{result: metrics.Refused, err: errors.New("no")}
		}},
		{"", func(a *assessment) { a.data.last = attempt{result: metrics.Failed, err: errors.New("no")} }},
		{"metadata-low", func(a *assessment) { a.metadata.passed, a.extending = true, false }},
		{"at-maximum metadata-low", func(a *assessment) { a.metadata.passed, a.metadata.blocked = true, metrics.AtMaximum }},
		{"data-full", func(a *assessment) { a.sample.Status.Kernel.Mode = dm.ModeOutOfDataSpace }},
		{"data-full", func(a *assessment) { a.sample.Status.Kernel.UsedData, a.data.passed, a.extending = 1000, true, false }},
		{"metadata-full", func(a *assessment) {
			a.sample.Status.Kernel.UsedMetadata, a.sample.Status.Kernel.Mode = 1000, dm.ModeReadOnly
		}},
		{"metadata-full needs-check pool-read-only", func(a *assessment) {
			k := &a.sample.Status.Kernel
			k.UsedMetadata, k.Mode, k.NeedsCheck = 1000, dm.ModeReadOnly, true
		}},
		{"needs-check pool-read-only", func(a *assessment) {
			a.sample.Status.Kernel.Mode, a.sample.Status.Kernel.NeedsCheck = dm.ModeReadOnly, true
		}},
		{"pool-read-only", func(a *assessment) { a.sample.Status.Kernel.Mode = dm.ModeReadOnly }},
		{"pool-failed", func(a *assessment) { a.sample.Status.Kernel = dm.PoolStatus{Mode: dm.ModeFail} }},
		{"pool-inactive", func(a *assessment) { a.sample.Status.Active = false }},
		{"", func(a *assessment) { a.sample.Status.Active, a.sample.Status.Record.Activated = false, false }},
		{"host-low", func(a *assessment) { a.sample.Status.Host.Available = 4 * gi }},
		{"host-full", func(a *assessment) { a.sample.Status.Host.Available = 0 }},
		{"host-full", func(a *assessment) { a.sample.Status.Host.Free = 15 * mi }},
		{"", func(a *assessment) { a.sample.Status.Host = nil }},
		{"held-root", func(a *assessment) { a.foreignRoot = true }},
		{"removal-waiting", func(a *assessment) { a.waiting = now.Add(-time.Hour - 1) }},
		{"", func(a *assessment) { a.waiting = now.Add(-time.Hour) }},
		{"leak", func(a *assessment) { a.leaked = 1 }},
		{"scan-stale", func(a *assessment) { a.scanEvery, a.lastScan = time.Hour, now.Add(-5*time.Hour-1) }},
		{"", func(a *assessment) { a.lastScan = now.Add(-500 * time.Hour) }},
		{"", func(a *assessment) { a.sample.Err, a.sample.Status.Active = errors.New("busy"), false }},
		{"sample-stale", func(a *assessment) { a.sample.Err, a.lastGood = errors.New("busy"), now.Add(-76*time.Second) }},
		{"pool-gone sample-stale", func(a *assessment) { a.gone, a.lastGood = true, now.Add(-76*time.Second) }},
	} {
		a := assessment{now: now, lastGood: now, lastScan: now, interval: 15 * time.Second, extending: true}
		s := &a.sample.Status
		s.Active, s.Record = true, thinpool.PoolRecord{Activated: true, Reserve: thinpool.Reserve{Host: 5}}
		s.Kernel = dm.PoolStatus{UsedData: 10, TotalData: 1000, UsedMetadata: 10, TotalMetadata: 1000}
		s.Host = &loopback.Space{Total: 100 * gi, Free: 60 * gi, Available: 50 * gi}
		test.change(&a)
		if got := strings.Join(conditions(a), " "); got != test.want {
			t.Errorf("got %q, want %q, of %+v", got, test.want, a)
		}
	}
}

// Each code has a runbook, and each runbook belongs to a code.
func TestCodesHaveRunbooks(t *testing.T) {
	if got, want := runbooks.Codes(), Codes(); !slices.Equal(got, want) {
		t.Errorf("runbooks: got %v, want %v", got, want)
	}
}
