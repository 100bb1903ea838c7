package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thinctl/units"
)

// The results of automatic extensions.
const (
	Done        = "done"
	Refused     = "refused"
	Failed      = "failed"
	AtMaximum   = "at_maximum"
	NoHostSpace = "no_host_space"
)

func results() []string { return []string{Done, Refused, Failed, AtMaximum, NoHostSpace} }

// The results of operations.
const (
	succeeded = "ok"
	erred     = "error"
)

func outcomes() []string { return []string{succeeded, erred} }

// activity is what the program has done and seen since it started.
type activity struct {
	operations *prometheus.CounterVec
	durations  *prometheus.HistogramVec

	mu    sync.Mutex
	pools map[string]*counts
}

// counts are those of one pool.
type counts struct {
	extensions map[extension]uint64
	extended   map[Space]units.Bytes
	events     uint64
}

type extension struct {
	space  Space
	result string
}

func newActivity(f *families) *activity {
	return &activity{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.operations.Name, Help: f.operations.Help}, f.operations.Labels),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.operationDuration.Name, Help: f.operationDuration.Help,
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 15, 60, 300}}, f.operationDuration.Labels),
		pools: map[string]*counts{},
	}
}

// Operation starts an operation; what it returns is called with its outcome.
func (m *Metrics) Operation(name string) func(error) {
	begun := time.Now()
	return func(err error) {
		result := succeeded
		if err != nil {
			result = erred
		}
		m.activity.operations.WithLabelValues(name, result).Inc()
		m.activity.durations.WithLabelValues(name, result).Observe(time.Since(begun).Seconds())
	}
}

// Extended counts an automatic extension of a pool, or that it was not made.
func (m *Metrics) Extended(pool string, space Space, by units.Bytes, result string) {
	m.activity.change(pool, func(c *counts) {
		c.extensions[extension{space, result}]++
		if result == Done {
			c.extended[space] += by
		}
	})
}

// Event counts an event of a pool's device.
func (m *Metrics) Event(pool string) {
	m.activity.change(pool, func(c *counts) { c.events++ })
}

// Forget drops what was counted of a pool that is gone.
func (m *Metrics) Forget(pool string) {
	m.activity.mu.Lock()
	defer m.activity.mu.Unlock()
	delete(m.activity.pools, pool)
}

func (a *activity) change(pool string, change func(*counts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a.of(pool))
}

// of returns the counts of a pool, which begin with zeros: a counter that begins
// with its first increment hides that from rates.
func (a *activity) of(pool string) *counts {
	c := a.pools[pool]
	if c == nil {
		c = &counts{extensions: map[extension]uint64{}, extended: map[Space]units.Bytes{Data: 0, Metadata: 0}}
		for space := range c.extended {
			for _, result := range results() {
				c.extensions[extension{space, result}] = 0
			}
		}
		a.pools[pool] = c
	}
	return c
}

// collect makes the series of the pools of these names and of those with counts.
func (a *activity) collect(f *families, to chan<- prometheus.Metric, names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		a.of(name)
	}
	for name, c := range a.pools {
		s := series{to: to, pool: name}
		s.counter(f.events, float64(c.events))
		for space, by := range c.extended {
			s.counter(f.extended, float64(by), string(space))
		}
		for e, n := range c.extensions {
			s.counter(f.extensions, float64(n), string(e.space), e.result)
		}
	}
}
