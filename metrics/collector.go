package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// pools makes the series of pools at each scrape, from samples alone.
type pools struct {
	*families
	source   Source
	options  Options
	activity *activity // nil where nothing is counted
}

// Describe implements [prometheus.Collector].
func (p *pools) Describe(to chan<- *prometheus.Desc) {
	for _, f := range p.all {
		if f != p.operations && f != p.operationDuration {
			to <- f.desc
		}
	}
}

// Collect implements [prometheus.Collector].
func (p *pools) Collect(to chan<- prometheus.Metric) {
}
