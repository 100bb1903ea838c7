package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

const prefix = "thinctl_"

// The types of metrics, as in the exposition format.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// MetricDoc describes a metric for docs/metrics.md.
type MetricDoc struct {
	Name   string
	Type   string // gauge, counter, histogram
	Unit   string // bytes, seconds, ratio; "" for a plain number
	Labels []string
	Help   string
}

// Docs returns the descriptions of all metrics, sorted by name.
func Docs() []MetricDoc {
	docs := slices.Concat(sampleMetrics(), eventMetrics())
	slices.SortFunc(docs, func(a, b MetricDoc) int { return cmp.Compare(a.Name, b.Name) })
	return docs
}

// LabelDoc describes a label for docs/metrics.md.
type LabelDoc struct {
	Name   string
	Values []string // all possible values; none if any text is possible
	Help   string
}

// Labels returns the descriptions of all labels, sorted by name.
func Labels() []LabelDoc {
	return []LabelDoc{
		{Name: "backing", Values: []string{"devices", "files"}, Help: "The type of the pool's data and metadata devices."},
		{Name: "code", Help: "The code of a condition, which is the name of its runbook."},
		{Name: "dir", Help: "The pool's directory."},
		{Name: "file", Values: []string{string(Data), string(Metadata)}, Help: "The data or metadata file of the pool."},
		{Name: "grpc_code", Values: codes(), Help: "The gRPC code of the reply."},
		{Name: "goversion", Help: "The version of Go that built the program."},
		{Name: "kind", Values: []string{KindContainer, KindVolume}, Help: "Whether the volume belongs to a container."},
		{Name: "method", Values: append(methods(), diffMethods()...),
			Help: "The method of containerd's request; Apply and Diff are those of the diff service."},
		{Name: "mode", Values: modes(), Help: "The pool's mode in the kernel, or inactive."},
		{Name: "operation", Help: "The name of the daemon's operation."},
		{Name: "policy", Values: policies(), Help: "What writes to a full pool do: wait for space, or fail."},
		{Name: "pool", Help: "The pool's name."},
		{Name: "result", Values: append(results(), outcomes()...),
			Help: "The result: ok or error for operations, one of the others for extensions."},
		{Name: "snapshotter", Help: "The name of its table in the configuration, [containerd.NAME]."},
		{Name: "space", Values: []string{string(Data), string(Metadata), string(Host)},
			Help: "The space that can become full."},
		{Name: "uuid", Help: "The pool's UUID."},
		{Name: "version", Help: "The program's version."},
		{Name: "volume", Help: "The name of the volume or container, or the first 12 digits of the id of a container " +
			"without a name. Never a digest."},
	}
}

// sampleMetrics returns the metrics that a scrape derives from samples.
func sampleMetrics() []MetricDoc {
	var docs []MetricDoc
	pool := func(name, help string, labels ...string) {
		docs = append(docs, describe(gauge, "pool_"+name, help, append([]string{"pool"}, labels...)...))
	}
	volume := func(name, help string) {
		docs = append(docs, describe(gauge, "volume_"+name, help, "pool", "kind", "volume"))
	}
	pool("info", "Always 1. The label backing is the type of the pool's devices: files or devices.",
		"uuid", "dir", "backing")
	pool("active", "1 if the pool is active in the kernel, else 0.")
	pool("mode", "1 for the pool's present mode, 0 for the other modes.", "mode")
	pool("full_policy", "1 for the present policy, 0 for the other: with queue, writes to a full pool wait for space, "+
		"with error they fail at once.", "policy")
	pool("needs_check", "1 if the kernel has found an error and requires a check of the metadata, else 0.")
	pool("held_root", "1 while the kernel holds a metadata snapshot, for example for a scan or a backup, else 0.")
	pool("transaction_id", "The pool's transaction id. Each change increments it.")
	pool("block_size_bytes", "Size of a data block, the unit of allocation.")
	pool("low_water_bytes", "Free data below which the kernel raises an event.")

	pool("data_size_bytes", "Size of the pool's data.")
	pool("data_used_bytes", "Data in use.")
	pool("data_reserve_bytes", "Free data below which no new volumes are created.")
	pool("metadata_size_bytes", "Size of the pool's metadata.")
	pool("metadata_used_bytes", "Metadata in use.")
	pool("metadata_reserve_bytes", "Free metadata below which no new volumes are created.")
	pool("host_size_bytes", "Size of the host's file system that contains the pool's files.")
	pool("host_free_bytes", "Available space of the host's file system that contains the pool's files.")
	pool("host_reserve_bytes", "Available space of the host below which no new volumes are created.")
	pool("file_size_bytes", "Apparent size of a file of the pool.", "file")
	pool("file_allocated_bytes", "Space that a file of the pool occupies on the host's file system.", "file")
	pool("virtual_bytes", "Sum of the virtual sizes of all volumes.")
	pool("overcommit_ratio", "Sum of the virtual sizes of all volumes, divided by the size of the data.")

	pool("volumes", "Number of volumes, including those of layers and containers.")
	pool("layers", "Number of image layers.")
	pool("containers", "Number of containers.")
	pool("images", "Number of images.")
	pool("tombstones", "Number of removed volumes whose blocks are still to be discarded.")

	pool("maximum_bytes", "Size beyond which the space is not extended automatically; absent without such a limit.",
		"space")
	pool("seconds_to_full", "Time until the space is full at the present rate; +Inf if it is not filling.", "space")
	pool("condition", "1 for each condition of the pool; absent otherwise.", "code")

	pool("sample_timestamp_seconds", "Time of the last sample, successful or not.")
	pool("sample_age_seconds", "Time since the last sample.")
	pool("sample_duration_seconds", "Duration of the last sample.")
	pool("sample_success", "1 if the last sample is complete, 0 if a part of the pool could not be read.")
	pool("scan_timestamp_seconds", "Time of the last scan of the metadata.")
	pool("scan_age_seconds", "Time since the last scan of the metadata.")
	pool("scan_duration_seconds", "Duration of the last scan.")
	pool("scan_success", "1 if the last scan succeeded, else 0.")
	pool("exclusive_bytes", "Data that belongs to a single volume, at the last scan.")
	pool("shared_bytes", "Data that several volumes share, at the last scan.")
	pool("leaked_bytes", "Data in use that belongs to no volume, at the last scan.")

	volume("virtual_bytes", "Virtual size of the volume.")
	volume("mapped_bytes", "Data mapped by the volume, shared or not.")
	volume("exclusive_bytes", "Data that only this volume maps, at the last scan; removing the volume frees it.")
	volume("shared_bytes", "Data that the volume shares with others, at the last scan.")

	return append(docs,
		describe(counter, "pool_extensions_total", "Automatic extensions, by result.", "pool", "space", "result"),
		describe(counter, "pool_extended_bytes_total", "Bytes that automatic extensions have added.", "pool", "space"),
		describe(counter, "pool_events_total", "Events of the pool's device.", "pool"),
		describe(gauge, "build_info", "Always 1. The labels describe the running program.", "version", "goversion"),
	)
}

// eventMetrics returns the metrics that are updated when events happen.
func eventMetrics() []MetricDoc {
	return []MetricDoc{
		describe(counter, "operations_total", "Operations of the daemon, by name and result.", "operation", "result"),
		describe(histogram, "operation_duration_seconds", "Duration of the daemon's operations.", "operation", "result"),
		describe(gauge, "snapshotter_ready", "1 while the snapshotter answers requests, 0 while its pool is not ready.",
			"snapshotter", "pool"),
		describe(gauge, "snapshotter_in_flight_requests", "Requests from containerd in progress.", "snapshotter"),
		describe(counter, "snapshotter_requests_total", "Answered requests from containerd.",
			"snapshotter", "method", "grpc_code"),
		describe(histogram, "snapshotter_request_duration_seconds", "Duration of requests from containerd.",
			"snapshotter", "method"),
	}
}

func describe(kind, name, help string, labels ...string) MetricDoc {
	return MetricDoc{Name: prefix + name, Type: kind, Unit: unitOf(name), Labels: labels, Help: help}
}

// unitOf returns the unit at the end of a name.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, unit := range []string{"bytes", "seconds", "ratio"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	if strings.Contains(name, "seconds_to") {
		return "seconds"
	}
	return ""
}

// descriptors holds the descriptors of sampleMetrics, by name without the prefix.
type descriptors map[string]*prometheus.Desc

func newDescriptors() descriptors {
	d := descriptors{}
	for _, doc := range sampleMetrics() {
		d[strings.TrimPrefix(doc.Name, prefix)] = prometheus.NewDesc(doc.Name, doc.Help, doc.Labels, nil)
	}
	return d
}

// of returns the descriptor of a metric. The golden tests use all of them.
func (d descriptors) of(name string) *prometheus.Desc {
	desc := d[name]
	if desc == nil {
		panic(fmt.Sprintf("metrics: %q is not in sampleMetrics", name))
	}
	return desc
}

// eventMetric returns the options and labels of a metric in eventMetrics.
func eventMetric(name string) (prometheus.Opts, []string) {
	for _, doc := range eventMetrics() {
		if doc.Name == prefix+name {
			return prometheus.Opts{Name: doc.Name, Help: doc.Help}, doc.Labels
		}
	}
	panic(fmt.Sprintf("metrics: %q is not in eventMetrics", name))
}

func counterVec(name string) *prometheus.CounterVec {
	o, labels := eventMetric(name)
	return prometheus.NewCounterVec(prometheus.CounterOpts(o), labels)
}

func gaugeVec(name string) *prometheus.GaugeVec {
	o, labels := eventMetric(name)
	return prometheus.NewGaugeVec(prometheus.GaugeOpts(o), labels)
}

func histogramVec(name string, buckets ...float64) *prometheus.HistogramVec {
	o, labels := eventMetric(name)
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: o.Name, Help: o.Help, Buckets: buckets}, labels)
}
