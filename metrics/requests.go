package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// methods returns the methods of containerd's Snapshots service.
func methods() []string {
	return []string{"Cleanup", "Commit", "List", "Mounts", "Prepare", "Remove", "Stat", "Update", "Usage", "View"}
}

// diffMethods returns the methods of containerd's Diff service, which a snapshotter's
// socket serves too.
func diffMethods() []string { return []string{"Apply", "Diff"} }

// codes returns the names of gRPC's codes.
func codes() []string {
	return []string{
		"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
		"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
		"DataLoss", "Unauthenticated",
	}
}

// requests counts and measures the requests to snapshotters.
type requests struct {
	ready    *prometheus.GaugeVec
	inFlight *prometheus.GaugeVec
	counts   *prometheus.CounterVec
	times    *prometheus.HistogramVec
}

func newRequests() *requests {
	return &requests{
		ready:    gaugeVec("snapshotter_ready"),
		inFlight: gaugeVec("snapshotter_in_flight_requests"),
		counts:   counterVec("snapshotter_requests_total"),
		times: histogramVec("snapshotter_request_duration_seconds",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30),
	}
}

func (r *requests) register(with *prometheus.Registry) {
	with.MustRegister(r.ready, r.inFlight, r.counts, r.times)
}

// Snapshotter sets whether a snapshotter answers requests. The first call creates its
// counters.
func (m *Metrics) Snapshotter(name, pool string, ready bool) {
	m.requests.ready.WithLabelValues(name, pool).Set(boolValue(ready))
	m.requests.inFlight.WithLabelValues(name).Add(0)
	for _, method := range methods() {
		m.requests.counts.WithLabelValues(name, method, "OK").Add(0)
	}
}

// ForgetSnapshotter drops the metrics of a snapshotter that has ended.
func (m *Metrics) ForgetSnapshotter(name string) {
	which := prometheus.Labels{"snapshotter": name}
	m.requests.ready.DeletePartialMatch(which)
	m.requests.inFlight.DeletePartialMatch(which)
	m.requests.counts.DeletePartialMatch(which)
	m.requests.times.DeletePartialMatch(which)
}

// Request starts the measurement of a request to a snapshotter. The caller calls the
// returned function with the name of the reply's gRPC code.
func (m *Metrics) Request(snapshotter, method string) (ended func(code string)) {
	begun, inFlight := m.now(), m.requests.inFlight.WithLabelValues(snapshotter)
	inFlight.Inc()
	return func(code string) {
		inFlight.Dec()
		m.requests.counts.WithLabelValues(snapshotter, method, code).Inc()
		m.requests.times.WithLabelValues(snapshotter, method).Observe(m.now().Sub(begun).Seconds())
	}
}
