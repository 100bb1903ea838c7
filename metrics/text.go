package metrics

import (
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// WriteText writes samples in the text format, for node_exporter's textfile collector. It
// leaves out ages and counters, which would not change in a file. It also leaves out
// metrics that cannot be gathered, and returns an error for them.
func WriteText(w io.Writer, samples []Sample, o Options) error {
	c := newCollector(sampleList(samples), o, nil)
	c.noAges = true
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, gatherErr := registry.Gather()
	text := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := text.Encode(family); err != nil {
			return err
		}
	}
	return gatherErr
}

type sampleList []Sample

func (l sampleList) Samples() []Sample { return l }
