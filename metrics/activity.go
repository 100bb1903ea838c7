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

// activity counts operations, extensions and events since the program started.
type activity struct {
	operations *prometheus.CounterVec
	durations  *prometheus.HistogramVec

	mu    sync.Mutex
	pools map[string]*counts
}

// counts holds the counters of one pool.
type counts struct {
	extensions map[extension]uint64
	extended   map[Space]units.Bytes
	events     uint64
}

type extension struct {
	space  Space
	result string
}

func newActivity() *activity {
	return &activity{
		operations: counterVec("operations_total"),
		durations:  histogramVec("operation_duration_seconds", .001, .005, .01, .05, .1, .5, 1, 5, 15, 60, 300),
		pools:      map[string]*counts{},
	}
}

// Operation starts the measurement of an operation. The caller calls the returned
// function with the operation's error or nil.
func (m *Metrics) Operation(name string) (done func(error)) {
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

// Extended counts an automatic extension of a pool, or one that was not possible.
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

// Forget drops the counters of a destroyed pool.
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

// of returns the counts of a pool. They begin with zeros, since rate() does not see the
// first increment of a counter that begins with 1.
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

// collect emits the counters of the given pools and of all others that have any.
func (a *activity) collect(to func(pool string) series, pools []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range pools {
		a.of(name)
	}
	for name, c := range a.pools {
		s := to(name)
		s.counter("pool_events_total", float64(c.events))
		for space, by := range c.extended {
			s.counter("pool_extended_bytes_total", float64(by), string(space))
		}
		for e, n := range c.extensions {
			s.counter("pool_extensions_total", float64(n), string(e.space), e.result)
		}
	}
}
