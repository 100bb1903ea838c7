package docs

import (
	"bytes"
	"fmt"
	"strings"

	"thinctl/metrics"
)

// metricsDoc is docs/metrics.md, of what package metrics says of itself.
func metricsDoc() []byte {
	var b bytes.Buffer
	b.WriteString(`# Metrics

Written by ` + "`make docs`" + `.

` + "`thinctl serve`" + ` serves these at ` + "`/metrics`" + `, from the last look at each pool: a scrape
takes no lock of a pool's, asks no kernel and commits nothing. How old that look
is stands beside it. ` + "`thinctl metrics`" + ` looks once and prints them, for the
textfile collector of node_exporter; there, ages and counters are left out, and
` + "`time() - thinctl_pool_sample_timestamp_seconds`" + ` is the age.

    # thinctl metrics --output /var/lib/prometheus/node-exporter/thinctl.prom

Sizes are in bytes, times in seconds, ratios from 0 on where 1 is all. What is not
known is absent, never zero: an inactive pool has no used bytes, one that was
never scanned no exclusive ones. A counter begins with zero when its pool is first
seen.

Single volumes are listed where a pool has at most as many volumes and containers
as ` + "`volume_metrics`" + ` in the configuration allows, or ` + "`--volumes`" + `: 100, unless
set. Those of layers are counted and never listed.

The process's own ` + "`process_*`" + ` and ` + "`promhttp_metric_handler_errors_total`" + ` are served along.
`)
	section := func(title, prefix string) {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n", title)
		for _, doc := range metrics.Docs() {
			if sectionOf(doc.Name) == prefix {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", doc.Name, doc.Type, doc.Unit, strings.Join(doc.Labels, ", "), doc.Help)
			}
		}
	}
	section("Pools", "thinctl_pool_")
	section("Volumes", "thinctl_volume_")
	section("Snapshotters of containerds", "thinctl_snapshotter_")
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
