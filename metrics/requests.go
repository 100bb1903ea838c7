package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// methods are those of containerd's Snapshots service.
func methods() []string {
	return []string{"Cleanup", "Commit", "List", "Mounts", "Prepare", "Remove", "Stat", "Update", "Usage", "View"}
}

// codes are gRPC's words for outcomes.
func codes() []string {
	return []string{"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
		"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"}
}

// requests are what containerds have asked of snapshotters.
type requests struct {
	ready    *prometheus.GaugeVec
	inFlight *prometheus.GaugeVec
	counts   *prometheus.CounterVec
	times    *prometheus.HistogramVec
}

func newRequests(f *families) *requests {
	return &requests{
		ready:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: f.snapshotterReady.Name, Help: f.snapshotterReady.Help}, f.snapshotterReady.Labels),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: f.inFlight.Name, Help: f.inFlight.Help}, f.inFlight.Labels),
		counts:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.requests.Name, Help: f.requests.Help}, f.requests.Labels),
		times: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.requestDuration.Name, Help: f.requestDuration.Help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, f.requestDuration.Labels),
	}
}

func (r *requests) register(with *prometheus.Registry) {
	with.MustRegister(r.ready, r.inFlight, r.counts, r.times)
}

// Snapshotter tells whether a snapshotter answers its containerd. Its counters begin
// with zeros when it is first told of.
func (m *Metrics) Snapshotter(name, pool string, ready bool) {
	m.requests.ready.WithLabelValues(name, pool).Set(truth(ready))
	m.requests.inFlight.WithLabelValues(name).Add(0)
	for _, method := range methods() {
		m.requests.counts.WithLabelValues(name, method, "OK").Add(0)
	}
}

// ForgetSnapshotter drops what was counted of a snapshotter that is no more.
func (m *Metrics) ForgetSnapshotter(name string) {
	which := prometheus.Labels{"snapshotter": name}
	m.requests.ready.DeletePartialMatch(which)
	m.requests.inFlight.DeletePartialMatch(which)
	m.requests.counts.DeletePartialMatch(which)
	m.requests.times.DeletePartialMatch(which)
}

// Request begins a request to a snapshotter; what it returns is called with gRPC's
// word for its outcome.
func (m *Metrics) Request(snapshotter, method string) (ended func(code string)) {
	begun, inFlight := m.now(), m.requests.inFlight.WithLabelValues(snapshotter)
	inFlight.Inc()
	return func(code string) {
		inFlight.Dec()
		m.requests.counts.WithLabelValues(snapshotter, method, code).Inc()
		m.requests.times.WithLabelValues(snapshotter, method).Observe(m.now().Sub(begun).Seconds())
	}
}
