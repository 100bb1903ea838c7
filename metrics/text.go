package metrics

import (
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// WriteText writes samples as node_exporter's textfile collector reads them.
// Ages are not in it, nor what only a program that goes on can count: they would
// stand still in a file. What cannot be written is left out and told.
func WriteText(w io.Writer, samples []Sample, o Options) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&pools{families: newFamilies(), source: fixed(samples), options: o, once: true})
	families, fault := registry.Gather()
	text := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, one := range families {
		if err := text.Encode(one); err != nil {
			return err
		}
	}
	return fault
}

type fixed []Sample

func (f fixed) Samples() []Sample { return f }
