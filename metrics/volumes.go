package metrics

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"thinctl/thinpool"
	"thinctl/units"
)

// volumes emits the series of named volumes. There may be tens of thousands. To save
// memory, the series of one volume share their labels, and they are emitted in the order
// into which the registry sorts them: by kind, pool and name.
func (c *collector) volumes(to chan<- prometheus.Metric, samples []Sample) {
	var pools []volumesOf
	for i := range samples {
		if s := &samples[i]; len(s.Volumes) > 0 && len(s.Volumes) <= c.options.VolumeLimit {
			pools = append(pools, newVolumesOf(s))
		}
	}
	slices.SortStableFunc(pools, func(a, b volumesOf) int { return cmp.Compare(a.sample.Pool, b.sample.Pool) })
	for _, kind := range []string{KindContainer, KindVolume} {
		for i := range pools {
			pools[i].collect(c.descriptors, to, kind)
		}
	}
}

// volumesOf holds the volumes of one pool, with the last scan's results by volume id.
type volumesOf struct {
	sample  *Sample
	scanned map[uint32]*thinpool.VolumeUsage
}

func newVolumesOf(s *Sample) volumesOf {
	v := volumesOf{sample: s}
	if s.Scan == nil {
		return v
	}
	v.scanned = make(map[uint32]*thinpool.VolumeUsage, len(s.Scan.Usage.Volumes))
	for i := range s.Scan.Usage.Volumes {
		usage := &s.Scan.Usage.Volumes[i]
		v.scanned[usage.ID] = usage
	}
	return v
}

func (p *volumesOf) collect(descriptors descriptors, to chan<- prometheus.Metric, kind string) {
	const labels, metrics = 3, 4
	volumes := p.sample.Volumes
	pairs, pointers := make([]dto.LabelPair, len(volumes)), make([]*dto.LabelPair, 0, labels*len(volumes))
	gauges := make([]volumeGauge, 0, metrics*len(volumes))
	ofKind, ofPool := labelPair("kind", kind), labelPair("pool", p.sample.Pool)
	virtual, mapped := descriptors.of("volume_virtual_bytes"), descriptors.of("volume_mapped_bytes")
	exclusive, shared := descriptors.of("volume_exclusive_bytes"), descriptors.of("volume_shared_bytes")
	name := "volume"
	for i := range volumes {
		v := &volumes[i]
		if v.Kind != kind {
			continue
		}
		pairs[i].Name, pairs[i].Value = &name, &v.Name
		begin := len(pointers)
		pointers = append(pointers, ofKind, ofPool, &pairs[i])
		add := func(desc *prometheus.Desc, size units.Bytes) {
			labels := pointers[begin:len(pointers):len(pointers)]
			gauges = append(gauges, volumeGauge{desc: desc, labels: labels, value: float64(size)})
			to <- &gauges[len(gauges)-1]
		}
		add(virtual, v.Virtual)
		usage := p.scanned[v.ID]
		switch {
		case v.Mapped != nil: // it is newer than the scan
			add(mapped, *v.Mapped)
		case usage != nil:
			add(mapped, usage.Mapped)
		}
		if usage != nil {
			add(exclusive, usage.Exclusive)
			add(shared, usage.Shared)
		}
	}
}

func labelPair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// volumeGauge is a gauge like those of prometheus.NewConstMetric, but it shares its
// labels.
type volumeGauge struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  float64
	gauge  dto.Gauge
}

// Desc implements [prometheus.Metric].
func (f *volumeGauge) Desc() *prometheus.Desc { return f.desc }

// Write implements [prometheus.Metric].
func (f *volumeGauge) Write(m *dto.Metric) error {
	f.gauge.Value = &f.value
	m.Label, m.Gauge = f.labels, &f.gauge
	return nil
}
