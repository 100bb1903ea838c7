package metrics

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"thinctl/thinpool"
	"thinctl/units"
)

// volumesOf makes the series of named volumes. There may be tens of thousands, so
// those of one volume share their labels, and they come in the order that the
// registry sorts them into: by kind, pool and name.
func (p *pools) volumesOf(to chan<- prometheus.Metric, samples []Sample) {
	var listed []listing
	for i := range samples {
		if s := &samples[i]; len(s.Volumes) > 0 && len(s.Volumes) <= p.options.VolumeLimit {
			listed = append(listed, newListing(s))
		}
	}
	slices.SortStableFunc(listed, func(a, b listing) int { return cmp.Compare(a.sample.Pool, b.sample.Pool) })
	for _, kind := range []string{KindContainer, KindVolume} {
		for i := range listed {
			p.listed(to, &listed[i], kind)
		}
	}
}

// listing is a pool's volumes, with what the last scan found of each.
type listing struct {
	sample  *Sample
	scanned map[uint32]*thinpool.VolumeUsage
}

func newListing(s *Sample) listing {
	l := listing{sample: s}
	if s.Scan == nil {
		return l
	}
	l.scanned = make(map[uint32]*thinpool.VolumeUsage, len(s.Scan.Usage.Volumes))
	for i := range s.Scan.Usage.Volumes {
		usage := &s.Scan.Usage.Volumes[i]
		l.scanned[usage.ID] = usage
	}
	return l
}

func (p *pools) listed(to chan<- prometheus.Metric, l *listing, kind string) {
	const labels, figures = 3, 4
	volumes := l.sample.Volumes
	pairs, pointers := make([]dto.LabelPair, len(volumes)), make([]*dto.LabelPair, 0, labels*len(volumes))
	figuresOf := make([]figure, 0, figures*len(volumes))
	ofKind, ofPool := labelPair("kind", kind), labelPair("pool", l.sample.Pool)
	name := "volume"
	for i := range volumes {
		v := &volumes[i]
		if v.Kind != kind {
			continue
		}
		pairs[i].Name, pairs[i].Value = &name, &v.Name
		begin := len(pointers)
		pointers = append(pointers, ofKind, ofPool, &pairs[i])
		add := func(f *family, size units.Bytes) {
			figuresOf = append(figuresOf, figure{desc: f.desc, labels: pointers[begin:len(pointers):len(pointers)], value: float64(size)})
			to <- &figuresOf[len(figuresOf)-1]
		}
		add(p.volumeVirtual, v.Virtual)
		usage := l.scanned[v.ID]
		switch {
		case v.Mapped != nil: // it is newer than the scan
			add(p.volumeMapped, *v.Mapped)
		case usage != nil:
			add(p.volumeMapped, usage.Mapped)
		}
		if usage != nil {
			add(p.volumeExclusive, usage.Exclusive)
			add(p.volumeShared, usage.Shared)
		}
	}
}

func labelPair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// figure is a gauge, as those of prometheus.NewConstMetric are, whose labels are
// not its own.
type figure struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  float64
	gauge  dto.Gauge
}

// Desc implements [prometheus.Metric].
func (f *figure) Desc() *prometheus.Desc { return f.desc }

// Write implements [prometheus.Metric].
func (f *figure) Write(m *dto.Metric) error {
	f.gauge.Value = &f.value
	m.Label, m.Gauge = f.labels, &f.gauge
	return nil
}
