package metrics

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/units"
)

// pools makes the series of pools at each scrape, of samples alone.
type pools struct {
	*families
	source   Source
	options  Options
	activity *activity // nil where nothing is counted
	// once leaves out what only holds at the moment of a scrape.
	once bool
}

// Describe implements [prometheus.Collector].
func (p *pools) Describe(to chan<- *prometheus.Desc) {
	for _, f := range p.all {
		if !slices.Contains([]*family{p.operations, p.operationDuration, p.snapshotterReady, p.inFlight, p.requests, p.requestDuration}, f) {
			to <- f.desc
		}
	}
}

// Collect implements [prometheus.Collector].
func (p *pools) Collect(to chan<- prometheus.Metric) {
	series{to: to}.gauge(p.buildInfo, 1, p.options.Version, goVersion())
	samples, now := p.source.Samples(), p.options.now()
	names := make([]string, len(samples))
	for i := range samples {
		names[i] = samples[i].Pool
		s := series{to: to, pool: names[i]}
		p.sampled(s, &samples[i], now)
		if samples[i].HasStatus() {
			p.status(s, &samples[i])
			p.plans(s, &samples[i])
		}
		p.scanned(s, samples[i].Scan, now)
	}
	p.volumesOf(to, samples)
	if p.activity != nil {
		p.activity.collect(p.families, to, names)
	}
}

// series makes the series of one pool.
type series struct {
	to   chan<- prometheus.Metric
	pool string
}

func (s series) gauge(f *family, value float64, labels ...string) {
	s.add(f, prometheus.GaugeValue, value, labels)
}

func (s series) counter(f *family, value float64, labels ...string) {
	s.add(f, prometheus.CounterValue, value, labels)
}

func (s series) add(f *family, kind prometheus.ValueType, value float64, labels []string) {
	if s.pool != "" {
		labels = append([]string{s.pool}, labels...)
	}
	m, err := prometheus.NewConstMetric(f.desc, kind, value, labels...)
	if err != nil { // a label that is no text
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	s.to <- m
}

func (s series) flag(f *family, is bool, labels ...string) {
	s.gauge(f, truth(is), labels...)
}

func (s series) bytes(f *family, size units.Bytes, labels ...string) {
	s.gauge(f, float64(size), labels...)
}

func (s series) count(f *family, n int) { s.gauge(f, float64(n)) }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func (p *pools) sampled(s series, sample *Sample, now time.Time) {
	s.flag(p.sampleSuccess, sample.Err == nil)
	s.gauge(p.sampleTime, seconds(sample.At))
	s.gauge(p.sampleDuration, sample.Took.Seconds())
	if !p.once {
		s.gauge(p.sampleAge, max(0, now.Sub(sample.At).Seconds()))
	}
	for _, code := range sample.Conditions {
		s.gauge(p.condition, 1, code)
	}
}

// status makes the series of the pool's record and of the kernel's answer.
func (p *pools) status(s series, sample *Sample) {
	status := &sample.Status
	record := &status.Record
	backing := "devices"
	if record.Data.Loop {
		backing = "files"
	}
	s.gauge(p.info, 1, status.UUID, strings.ToValidUTF8(status.Dir, "?"), backing)
	s.flag(p.active, status.Active)
	mode := "inactive"
	if status.Active {
		mode = status.Kernel.Mode.String()
	}
	for _, one := range modes() {
		s.flag(p.mode, one == mode, one)
	}
	s.bytes(p.blockSize, record.Block)
	s.bytes(p.lowWater, units.Bytes(record.LowWater)*record.Block)
	if sample.HasKernelStatus() {
		kernel := &status.Kernel
		s.flag(p.fullPolicy, !kernel.ErrorIfNoSpace, queueing)
		s.flag(p.fullPolicy, kernel.ErrorIfNoSpace, failing)
		s.flag(p.needsCheck, kernel.NeedsCheck)
		s.flag(p.heldRoot, kernel.HeldRoot != 0)
		s.gauge(p.transactionID, float64(kernel.TransactionID))
		s.bytes(p.dataUsed, status.Data.Used)
		s.bytes(p.metadataUsed, status.Metadata.Used)
	}
	s.bytes(p.dataSize, status.Data.Total)
	s.bytes(p.dataReserve, part(status.Data.Total, record.Reserve.Data))
	s.bytes(p.metadataSize, status.Metadata.Total)
	s.bytes(p.metadataReserve, part(status.Metadata.Total, record.Reserve.Metadata))
	p.host(s, status, record)

	s.bytes(p.virtual, status.Virtual)
	s.gauge(p.overcommit, float64(status.Virtual)/float64(status.Data.Total))
	s.count(p.volumes, status.Volumes)
	s.count(p.tombstones, status.Tombstones)
	if sample.Err == nil {
		s.count(p.layers, sample.Layers)
		s.count(p.containers, sample.Containers)
		s.count(p.images, sample.Images)
	}
}

// The full policies.
const (
	queueing = "queue"
	failing  = "error"
)

func policies() []string { return []string{failing, queueing} }

// modes are those of package dm, and that of a pool that the kernel has not.
func modes() []string {
	return []string{dm.ModeWrite.String(), dm.ModeOutOfDataSpace.String(), dm.ModeReadOnly.String(), dm.ModeFail.String(), "inactive"}
}

func (p *pools) host(s series, status *thinpool.Status, record *thinpool.PoolRecord) {
	if host := status.Host; host != nil {
		s.bytes(p.hostSize, host.Total)
		s.bytes(p.hostFree, host.Available)
		s.bytes(p.hostReserve, part(host.Total, record.Reserve.Host))
	}
	for _, of := range []struct {
		space Space
		in    *thinpool.Space
	}{{Data, &status.Data}, {Metadata, &status.Metadata}} {
		if file := of.in.File; file != nil {
			s.bytes(p.fileSize, file.Apparent, string(of.space))
			s.bytes(p.fileAllocated, file.Allocated, string(of.space))
		}
	}
}

// part is so many percent of a size, exactly.
func part(size units.Bytes, percent int) units.Bytes {
	return size/100*units.Bytes(percent) + size%100*units.Bytes(percent)/100
}

// plans makes the series of what is to come.
func (p *pools) plans(s series, sample *Sample) {
	for _, space := range spaces() {
		if limit, ok := sample.Limits[space]; ok {
			s.bytes(p.maximum, limit, string(space))
		}
		if sample.Forecast == nil || space == Host && sample.Status.Host == nil {
			continue
		}
		left := math.Inf(1)
		if in, ok := sample.Forecast[space]; ok {
			left = in.Seconds()
		}
		s.gauge(p.secondsToFull, left, string(space))
	}
}

func (p *pools) scanned(s series, scan *Scan, now time.Time) {
	if scan == nil {
		return
	}
	s.flag(p.scanSuccess, scan.Err == nil)
	s.gauge(p.scanTime, seconds(scan.At))
	s.gauge(p.scanDuration, scan.Took.Seconds())
	if !p.once {
		s.gauge(p.scanAge, max(0, now.Sub(scan.At).Seconds()))
	}
	if scan.Usage.Total == 0 {
		return // none has succeeded yet
	}
	leaked := scan.Usage.Unmapped
	for _, v := range scan.Usage.Volumes {
		if v.Name == "" {
			leaked += v.Exclusive
		}
	}
	s.bytes(p.exclusive, scan.Usage.Exclusive)
	s.bytes(p.shared, scan.Usage.Shared)
	s.bytes(p.leaked, leaked)
}
