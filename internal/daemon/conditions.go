package daemon

import (
	"slices"
	"time"

	"thinctl/dm"
	"thinctl/metrics"
	"thinctl/units"
)

// The codes of conditions. They are stable: alerts, logs and runbooks go by them.
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

// Codes are all conditions, sorted.
func Codes() []string {
	codes := []string{DataLow, DataFull, MetadataLow, MetadataFull, HostLow, HostFull, NeedsCheck, PoolReadOnly, PoolFailed,
		PoolInactive, PoolGone, ExtendFailed, AtMaximum, SampleStale, ScanStale, HeldRoot, RemovalWaiting, Leak}
	slices.Sort(codes)
	return codes
}

const (
	// staleAfter is how many intervals may pass without a sample or scan.
	staleAfter = 5
	// longRemoval is how long a removed volume may wait for who has it open.
	longRemoval = time.Hour
)

// seen is all that conditions are made of.
type seen struct {
	sample metrics.Sample
	now    time.Time
	gone   bool // the pool is not where it was
	// lastGood and lastScan are when a sample and a scan last worked, or were
	// first due.
	lastGood, lastScan  time.Time
	interval, scanEvery time.Duration
	extending           bool // automatic extension is on
	data, metadata      outlook
	foreignRoot         bool      // somebody else holds a metadata snapshot
	waiting             time.Time // since when a removed volume waits; zero for none
	leaked              units.Bytes
}

// outlook is how a space stands to its threshold.
type outlook struct {
	verdict
	last attempt
}

// conditions are the codes that hold, sorted. It knows nothing but its argument.
func conditions(o seen) []string {
	var codes []string
	holds := func(is bool, code string) {
		if is {
			codes = append(codes, code)
		}
	}
	holds(o.gone, PoolGone)
	holds(stale(o.now, o.lastGood, o.interval), SampleStale)
	holds(stale(o.now, o.lastScan, o.scanEvery), ScanStale)
	holds(!o.waiting.IsZero() && o.now.Sub(o.waiting) > longRemoval, RemovalWaiting)
	holds(o.leaked > 0, Leak)
	if !o.gone && o.sample.Err == nil {
		o.ofStatus(holds)
	}
	slices.Sort(codes)
	return codes
}

// stale: nothing came for several times as long as it should take; every of 0 is
// never.
func stale(now, last time.Time, every time.Duration) bool {
	return every > 0 && !last.IsZero() && now.Sub(last) > staleAfter*every
}

// ofStatus are the conditions that a status shows.
func (o seen) ofStatus(holds func(bool, string)) {
	s := o.sample.Status
	if !s.Active {
		holds(s.Record.Activated, PoolInactive)
		return
	}
	kernel := s.Kernel
	if kernel.Mode == dm.ModeFail {
		holds(true, PoolFailed)
		return
	}
	dataFull := kernel.Mode == dm.ModeOutOfDataSpace || kernel.TotalData > 0 && kernel.FreeData() == 0
	metadataFull := kernel.TotalMetadata > 0 && kernel.FreeMetadata() == 0
	holds(dataFull, DataFull)
	holds(!dataFull && o.low(o.data), DataLow)
	holds(metadataFull, MetadataFull)
	holds(!metadataFull && o.low(o.metadata), MetadataLow)
	holds(kernel.NeedsCheck, NeedsCheck)
	// Out of metadata the kernel says read-only too, and growth mends it.
	holds(kernel.Mode == dm.ModeReadOnly && (kernel.NeedsCheck || !metadataFull), PoolReadOnly)
	holds(o.foreignRoot, HeldRoot)
	holds(o.data.failed() || o.metadata.failed(), ExtendFailed)
	holds(o.data.blocked == metrics.AtMaximum || o.metadata.blocked == metrics.AtMaximum, AtMaximum)
	o.ofHost(holds)
}

// low: the threshold is passed, and nothing is going to be done about it.
func (o seen) low(l outlook) bool {
	return l.passed && (!o.extending || l.blocked != "" || l.failed())
}

// failed: the threshold is passed, and the last try to do something about it came
// to nothing.
func (l outlook) failed() bool {
	return l.passed && (l.last.result == metrics.Failed || l.last.result == metrics.Refused && l.last.err != nil)
}

func (o seen) ofHost(holds func(bool, string)) {
	host := o.sample.Status.Host
	if host == nil {
		return
	}
	full := host.Available == 0 || host.Free < leastHost
	short := host.Available < hostReserve(o.sample.Status) ||
		o.extending && (o.data.blocked == metrics.NoHostSpace || o.metadata.blocked == metrics.NoHostSpace)
	holds(full, HostFull)
	holds(!full && short, HostLow)
}
