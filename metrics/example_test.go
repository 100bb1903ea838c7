package metrics_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// lastSamples is a source. A real one returns the samples that another goroutine takes at
// intervals.
type lastSamples []metrics.Sample

func (s lastSamples) Samples() []metrics.Sample { return s }

// An exporter serves the last sample of each pool, and counts its own operations.
func Example() {
	samples := lastSamples{{
		Pool: "vault",
		At:   time.Now(),
		Status: thinpool.Status{
			Active:   true,
			Data:     thinpool.Space{Total: 100 * units.GiB, Used: 40 * units.GiB},
			Metadata: thinpool.Space{Total: units.GiB, Used: 32 * units.MiB},
		},
	}}
	m := metrics.New(samples, metrics.Options{Version: "1.0"})

	done := m.Operation("extend")
	done(nil) // the error of the operation

	// http.Handle("/metrics", m.Handler()) serves them. This example scrapes itself:
	scrape := httptest.NewRecorder()
	m.Handler().ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(scrape.Body.String()) {
		if strings.HasPrefix(line, "thinctl_pool_data_") || strings.HasPrefix(line, "thinctl_operations_") {
			fmt.Print(line)
		}
	}
	// Output:
	// thinctl_operations_total{operation="extend",result="ok"} 1
	// thinctl_pool_data_reserve_bytes{pool="vault"} 0
	// thinctl_pool_data_size_bytes{pool="vault"} 1.073741824e+11
	// thinctl_pool_data_used_bytes{pool="vault"} 4.294967296e+10
}

// A Forecaster estimates from successive samples when a space will be full.
func ExampleForecaster() {
	var forecaster metrics.Forecaster
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	used := 40 * units.GiB
	for range 61 { // the pool fills by 10 GiB an hour
		forecaster.Add(metrics.Sample{Pool: "vault", At: at, Status: thinpool.Status{
			Active: true,
			Data:   thinpool.Space{Total: 100 * units.GiB, Used: used},
		}})
		at, used = at.Add(time.Minute), used+10*units.GiB/60
	}
	left := forecaster.Forecast(at)[metrics.Data]
	fmt.Println("full in", left.Round(time.Hour))
	// Output: full in 5h0m0s
}
