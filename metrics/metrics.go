package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultVolumeLimit is the default of thinctl for [Options.VolumeLimit].
const DefaultVolumeLimit = 100

// Source returns the last sample of each pool. Each scrape calls it, so that it must
// return at once. A sample must not change after it was returned.
type Source interface{ Samples() []Sample }

// Options change what is exported.
type Options struct {
	// VolumeLimit is the largest number of named volumes of a pool that are exported one
	// by one. A pool with more exports none of them.
	VolumeLimit int
	// Now returns the present time, from which ages are measured; nil for time.Now.
	Now func() time.Time
	// Version is the version of the program.
	Version string
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Metrics holds all metrics of a program. Its methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	activity *activity
	requests *requests
	now      func() time.Time
}

// New returns the metrics of the source's pools, in a new registry together with the
// process_* metrics.
func New(source Source, o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), activity: newActivity(), requests: newRequests(), now: o.now}
	m.requests.register(m.registry)
	m.registry.MustRegister(
		newCollector(source, o, m.activity),
		m.activity.operations, m.activity.durations,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler serves the metrics. It leaves out metrics that cannot be gathered, and counts
// them in promhttp_metric_handler_errors_total.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, Registry: m.registry,
	})
}

// Gatherer returns the metrics for a program that serves them together with others.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

func goVersion() string { return runtime.Version() }
