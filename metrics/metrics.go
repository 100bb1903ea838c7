package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultVolumeLimit is how many named volumes of a pool the program exports one
// by one, unless it is told otherwise.
const DefaultVolumeLimit = 100

// Source has the last sample of each pool. It is asked at each scrape and must
// answer at once. Nobody may change a sample that it has given away.
type Source interface{ Samples() []Sample }

// Options change what is exported.
type Options struct {
	// VolumeLimit is how many named volumes a pool may have for them to be
	// exported one by one; with more, none is. So with 0 none ever is.
	VolumeLimit int
	// Now is the clock that ages are measured by; nil is time.Now.
	Now func() time.Time
	// Version is the program's own.
	Version string
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Metrics is all that one program exports. Its methods are safe for concurrent
// use.
type Metrics struct {
	registry *prometheus.Registry
	activity *activity
	requests *requests
	now      func() time.Time
}

// New returns metrics of the source's pools, with a registry of their own, which
// has the process's metrics too: process_*.
func New(source Source, o Options) *Metrics {
	f := newFamilies()
	m := &Metrics{registry: prometheus.NewRegistry(), activity: newActivity(f), requests: newRequests(f), now: o.now}
	m.requests.register(m.registry)
	m.registry.MustRegister(
		&pools{families: f, source: source, options: o, activity: m.activity},
		m.activity.operations, m.activity.durations,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler serves the metrics. What cannot be gathered is left out and counted in
// promhttp_metric_handler_errors_total: the rest is worth having.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: m.registry})
}

// Gatherer gives the metrics to programs that serve them along with others.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

func goVersion() string { return runtime.Version() }
