package docs

import (
	"bytes"
	"fmt"
	"strings"

	"thinctl/metrics"
)

// metricsDoc returns docs/metrics.md, made from the descriptions in package metrics.
func metricsDoc() []byte {
	var b bytes.Buffer
	b.WriteString(`# Metrics

Written by ` + "`make docs`" + `.

` + "`thinctl serve`" + ` serves these metrics at ` + "`/metrics`" + `, from the last sample of each pool. A scrape
takes no lock of a pool, makes no call into the kernel and commits nothing. The age of
the sample is a metric, too. ` + "`thinctl metrics`" + ` takes one sample and prints the metrics, for
the textfile collector of node_exporter. It leaves out ages and counters; use
` + "`time() - thinctl_pool_sample_timestamp_seconds`" + ` for the age.

    # thinctl metrics --output /var/lib/prometheus/node-exporter/thinctl.prom

Sizes are in bytes, times in seconds. A ratio of 1 is the whole. A value that is not
known is absent, never zero: an inactive pool has no used bytes, and a pool without a
scan has no exclusive bytes. The counters of a pool begin with zero at its first sample.

Single volumes are exported if a pool has at most as many volumes and containers as
` + "`volume_metrics`" + ` in the configuration or ` + "`--volumes`" + ` allows (default: 100). The volumes
of layers are only counted.

A pool's condition has a code and a runbook: ` + "`thinctl explain CODE`" + ` prints it.

The metrics ` + "`process_*`" + ` and ` + "`promhttp_metric_handler_errors_total`" + ` are served, too.
`)
	section := func(title, prefix string) {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n", title)
		for _, doc := range metrics.Docs() {
			if sectionOf(doc.Name) == prefix {
				labels := strings.Join(doc.Labels, ", ")
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", doc.Name, doc.Type, doc.Unit, labels, doc.Help)
			}
		}
	}
	section("Pools", "thinctl_pool_")
	section("Volumes", "thinctl_volume_")
	section("Snapshotters", "thinctl_snapshotter_")
	section("The program", "")
	b.WriteString("\n## Labels\n\n| label | values | meaning |\n|---|---|---|\n")
	for _, label := range metrics.Labels() {
		var values []string
		for _, value := range label.Values {
			values = append(values, "`"+value+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", label.Name, strings.Join(values, ", "), label.Help)
	}
	return b.Bytes()
}

func sectionOf(metric string) string {
	for _, prefix := range []string{"thinctl_pool_", "thinctl_volume_", "thinctl_snapshotter_"} {
		if strings.HasPrefix(metric, prefix) {
			return prefix
		}
	}
	return ""
}
