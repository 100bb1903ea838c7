package metrics

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thinctl/dm"
	"thinctl/thinpool"
	"thinctl/units"
)

// collector derives series from samples at each scrape.
type collector struct {
	descriptors descriptors
	source      Source
	options     Options
	activity    *activity // nil: no counters
	noAges      bool
}

func newCollector(source Source, o Options, a *activity) *collector {
	return &collector{descriptors: newDescriptors(), source: source, options: o, activity: a}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range c.descriptors {
		to <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	c.series(to, "").gauge("build_info", 1, c.options.Version, goVersion())
	samples, now := c.source.Samples(), c.options.now()
	names := make([]string, len(samples))
	for i := range samples {
		names[i] = samples[i].Pool
		s := c.series(to, names[i])
		c.sample(s, &samples[i], now)
		if samples[i].HasStatus() {
			status(s, &samples[i])
			forecasts(s, &samples[i])
		}
		c.scan(s, samples[i].Scan, now)
	}
	c.volumes(to, samples)
	if c.activity != nil {
		c.activity.collect(func(pool string) series { return c.series(to, pool) }, names)
	}
}

func (c *collector) series(to chan<- prometheus.Metric, pool string) series {
	return series{descriptors: c.descriptors, to: to, pool: pool}
}

// series emits the series of one pool. Its methods take the metric's name without the
// prefix.
type series struct {
	descriptors descriptors
	to          chan<- prometheus.Metric
	pool        string // the value of the first label; "" for a metric without it
}

func (s series) gauge(name string, value float64, labels ...string) {
	s.add(name, prometheus.GaugeValue, value, labels)
}

func (s series) counter(name string, value float64, labels ...string) {
	s.add(name, prometheus.CounterValue, value, labels)
}

func (s series) add(name string, kind prometheus.ValueType, value float64, labels []string) {
	if s.pool != "" {
		labels = append([]string{s.pool}, labels...)
	}
	desc := s.descriptors.of(name)
	m, err := prometheus.NewConstMetric(desc, kind, value, labels...)
	if err != nil { // a label that is not UTF-8
		m = prometheus.NewInvalidMetric(desc, err)
	}
	s.to <- m
}

func (s series) flag(name string, is bool, labels ...string) {
	s.gauge(name, boolValue(is), labels...)
}

func (s series) bytes(name string, size units.Bytes, labels ...string) {
	s.gauge(name, float64(size), labels...)
}

func (s series) count(name string, n int) { s.gauge(name, float64(n)) }

func boolValue(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func (c *collector) sample(s series, sample *Sample, now time.Time) {
	s.flag("pool_sample_success", sample.Err == nil)
	s.gauge("pool_sample_timestamp_seconds", seconds(sample.At))
	s.gauge("pool_sample_duration_seconds", sample.Took.Seconds())
	if !c.noAges {
		s.gauge("pool_sample_age_seconds", max(0, now.Sub(sample.At).Seconds()))
	}
	for _, code := range sample.Conditions {
		s.gauge("pool_condition", 1, code)
	}
}

// status emits the series of the pool's record and of the kernel's status.
func status(s series, sample *Sample) {
	status := &sample.Status
	record := &status.Record
	backing := "devices"
	if record.Data.Loop {
		backing = "files"
	}
	s.gauge("pool_info", 1, status.UUID, strings.ToValidUTF8(status.Dir, "?"), backing)
	s.flag("pool_active", status.Active)
	mode := "inactive"
	if status.Active {
		mode = status.Kernel.Mode.String()
	}
	for _, one := range modes() {
		s.flag("pool_mode", one == mode, one)
	}
	s.bytes("pool_block_size_bytes", record.Block)
	s.bytes("pool_low_water_bytes", units.Bytes(record.LowWater)*record.Block)
	if sample.HasKernelStatus() {
		kernel := &status.Kernel
		s.flag("pool_full_policy", !kernel.ErrorIfNoSpace, queueing)
		s.flag("pool_full_policy", kernel.ErrorIfNoSpace, failing)
		s.flag("pool_needs_check", kernel.NeedsCheck)
		s.flag("pool_held_root", kernel.HeldRoot != 0)
		s.gauge("pool_transaction_id", float64(kernel.TransactionID))
		s.bytes("pool_data_used_bytes", status.Data.Used)
		s.bytes("pool_metadata_used_bytes", status.Metadata.Used)
	}
	s.bytes("pool_data_size_bytes", status.Data.Total)
	s.bytes("pool_data_reserve_bytes", part(status.Data.Total, record.Reserve.Data))
	s.bytes("pool_metadata_size_bytes", status.Metadata.Total)
	s.bytes("pool_metadata_reserve_bytes", part(status.Metadata.Total, record.Reserve.Metadata))
	hostSpace(s, status, record)

	s.bytes("pool_virtual_bytes", status.Virtual)
	s.gauge("pool_overcommit_ratio", float64(status.Virtual)/float64(status.Data.Total))
	s.count("pool_volumes", status.Volumes)
	s.count("pool_tombstones", status.Tombstones)
	if sample.Err == nil {
		s.count("pool_layers", sample.Layers)
		s.count("pool_containers", sample.Containers)
		s.count("pool_images", sample.Images)
	}
}

// The full policies.
const (
	queueing = "queue"
	failing  = "error"
)

func policies() []string { return []string{failing, queueing} }

// modes returns the modes of package dm, and the one of a pool that is not in the kernel.
func modes() []string {
	return []string{
		dm.ModeWrite.String(), dm.ModeOutOfDataSpace.String(), dm.ModeReadOnly.String(), dm.ModeFail.String(), "inactive",
	}
}

func hostSpace(s series, status *thinpool.Status, record *thinpool.PoolRecord) {
	if host := status.Host; host != nil {
		s.bytes("pool_host_size_bytes", host.Total)
		s.bytes("pool_host_free_bytes", host.Available)
		s.bytes("pool_host_reserve_bytes", part(host.Total, record.Reserve.Host))
	}
	for _, of := range []struct {
		space Space
		in    *thinpool.Space
	}{{Data, &status.Data}, {Metadata, &status.Metadata}} {
		if file := of.in.File; file != nil {
			s.bytes("pool_file_size_bytes", file.Apparent, string(of.space))
			s.bytes("pool_file_allocated_bytes", file.Allocated, string(of.space))
		}
	}
}

// part returns a percentage of a size without overflow.
func part(size units.Bytes, percent int) units.Bytes {
	return size/100*units.Bytes(percent) + size%100*units.Bytes(percent)/100
}

// forecasts emits the limits and the forecast.
func forecasts(s series, sample *Sample) {
	for _, space := range spaces() {
		if limit, ok := sample.Limits[space]; ok {
			s.bytes("pool_maximum_bytes", limit, string(space))
		}
		if sample.Forecast == nil || space == Host && sample.Status.Host == nil {
			continue
		}
		left := math.Inf(1)
		if in, ok := sample.Forecast[space]; ok {
			left = in.Seconds()
		}
		s.gauge("pool_seconds_to_full", left, string(space))
	}
}

func (c *collector) scan(s series, scan *Scan, now time.Time) {
	if scan == nil {
		return
	}
	s.flag("pool_scan_success", scan.Err == nil)
	s.gauge("pool_scan_timestamp_seconds", seconds(scan.At))
	s.gauge("pool_scan_duration_seconds", scan.Took.Seconds())
	if !c.noAges {
		s.gauge("pool_scan_age_seconds", max(0, now.Sub(scan.At).Seconds()))
	}
	if scan.Usage.Total == 0 {
		return // no scan has succeeded yet
	}
	leaked := scan.Usage.Unmapped
	for _, v := range scan.Usage.Volumes {
		if v.Name == "" {
			leaked += v.Exclusive
		}
	}
	s.bytes("pool_exclusive_bytes", scan.Usage.Exclusive)
	s.bytes("pool_shared_bytes", scan.Usage.Shared)
	s.bytes("pool_leaked_bytes", leaked)
}
