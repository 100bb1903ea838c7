package daemon

import (
	"slices"
	"time"

	"thinctl/dm"
	"thinctl/metrics"
	"thinctl/units"
)

// The codes of conditions. They are stable, since alerts and runbooks use them.
const (
	DataLow        = "data-low"
	DataFull       = "data-full"
	MetadataLow    = "metadata-low"
	MetadataFull   = "metadata-full"
	HostLow        = "host-low"
	HostFull       = "host-full"
	NeedsCheck     = "needs-check"
	PoolReadOnly   = "pool-read-only"
	PoolFailed     = "pool-failed"
	PoolInactive   = "pool-inactive"
	PoolGone       = "pool-gone"
	ExtendFailed   = "extend-failed"
	AtMaximum      = "at-maximum"
	SampleStale    = "sample-stale"
	ScanStale      = "scan-stale"
	HeldRoot       = "held-root"
	RemovalWaiting = "removal-waiting"
	Leak           = "leak"
)

// Codes returns the codes of all conditions, sorted.
func Codes() []string {
	codes := []string{
		DataLow, DataFull, MetadataLow, MetadataFull, HostLow, HostFull, NeedsCheck, PoolReadOnly, PoolFailed,
		PoolInactive, PoolGone, ExtendFailed, AtMaximum, SampleStale, ScanStale, HeldRoot, RemovalWaiting, Leak,
	}
	slices.Sort(codes)
	return codes
}

const (
	// staleAfter is the number of intervals that may pass without a sample or scan.
	staleAfter = 5
	// longRemoval is the time that a removed volume may stay open without a condition.
	longRemoval = time.Hour
)

// assessment holds a sample and all else from which conditions follow.
type assessment struct {
	sample metrics.Sample
	now    time.Time
	gone   bool // the pool's directory is missing
	// lastGood and lastScan are the times of the last successful sample and scan, or the
	// times when the first ones were due.
	lastGood, lastScan  time.Time
	interval, scanEvery time.Duration
	extending           bool // automatic extension is on
	data, metadata      spaceState
	foreignRoot         bool      // another program holds a metadata snapshot
	waiting             time.Time // when the oldest volume was removed that is still open; zero if there is none
	leaked              units.Bytes
}

// spaceState is the decision about a space, with the last attempt to extend it.
type spaceState struct {
	decision
	last attempt
}

// conditions returns the codes of the conditions that hold, sorted.
func conditions(a assessment) []string {
	var codes []string
	add := func(holds bool, code string) {
		if holds {
			codes = append(codes, code)
		}
	}
	add(a.gone, PoolGone)
	add(stale(a.now, a.lastGood, a.interval), SampleStale)
	add(stale(a.now, a.lastScan, a.scanEvery), ScanStale)
	add(!a.waiting.IsZero() && a.now.Sub(a.waiting) > longRemoval, RemovalWaiting)
	add(a.leaked > 0, Leak)
	if !a.gone && a.sample.Err == nil {
		a.ofStatus(add)
	}
	slices.Sort(codes)
	return codes
}

// stale reports whether several intervals have passed since the last success. It is
// never true for an interval of 0.
func stale(now, last time.Time, every time.Duration) bool {
	return every > 0 && !last.IsZero() && now.Sub(last) > staleAfter*every
}

// ofStatus adds the conditions that follow from the pool's status.
func (a assessment) ofStatus(add func(bool, string)) {
	s := a.sample.Status
	if !s.Active {
		add(s.Record.Activated, PoolInactive)
		return
	}
	kernel := s.Kernel
	if kernel.Mode == dm.ModeFail {
		add(true, PoolFailed)
		return
	}
	dataFull := kernel.Mode == dm.ModeOutOfDataSpace || kernel.TotalData > 0 && kernel.FreeData() == 0
	metadataFull := kernel.TotalMetadata > 0 && kernel.FreeMetadata() == 0
	add(dataFull, DataFull)
	add(!dataFull && a.low(a.data), DataLow)
	add(metadataFull, MetadataFull)
	add(!metadataFull && a.low(a.metadata), MetadataLow)
	add(kernel.NeedsCheck, NeedsCheck)
	// The kernel also reports read-only if no metadata is free. Growth ends that.
	add(kernel.Mode == dm.ModeReadOnly && (kernel.NeedsCheck || !metadataFull), PoolReadOnly)
	add(a.foreignRoot, HeldRoot)
	add(a.data.failed() || a.metadata.failed(), ExtendFailed)
	add(a.data.blocked == metrics.AtMaximum || a.metadata.blocked == metrics.AtMaximum, AtMaximum)
	a.ofHost(add)
}

// low reports whether the threshold is passed and no extension is to come.
func (a assessment) low(s spaceState) bool {
	return s.passed && (!a.extending || s.blocked != "" || s.failed())
}

// failed reports whether the threshold is passed and the last extension has failed.
func (s spaceState) failed() bool {
	return s.passed && (s.last.result == metrics.Failed || s.last.result == metrics.Refused && s.last.err != nil)
}

func (a assessment) ofHost(add func(bool, string)) {
	host := a.sample.Status.Host
	if host == nil {
		return
	}
	full := host.Available == 0 || host.Free < hostMinimum
	short := host.Available < hostReserve(a.sample.Status) ||
		a.extending && (a.data.blocked == metrics.NoHostSpace || a.metadata.blocked == metrics.NoHostSpace)
	add(full, HostFull)
	add(!full && short, HostLow)
}
