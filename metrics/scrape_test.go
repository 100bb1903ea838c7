package metrics_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

func noon() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// pools returns a pool with all metrics, and pools in other states.
func pools() sampleList {
	mapped := 5 * units.GiB
	vault := metrics.Sample{
		Pool: "vault", At: noon().Add(-4 * time.Second), Took: 1500 * time.Microsecond,
		Status: thinpool.Status{
			Name: "vault", UUID: "0123456789abcdef0123456789abcdef", Dir: "/var/lib/thinctl/vault",
			Record: thinpool.PoolRecord{
				Data: thinpool.Backing{Loop: true}, Metadata: thinpool.Backing{Loop: true}, Block: 64 * units.KiB, LowWater: 32768,
				Reserve: thinpool.Reserve{Data: 10, Metadata: 10, Host: 5},
			},
			Active: true, Kernel: dm.PoolStatus{TransactionID: 12},
			Data: thinpool.Space{Total: 100 * units.GiB, Used: 40 * units.GiB,
				File: &loopback.FileUsage{Apparent: 100 * units.GiB, Allocated: 41 * units.GiB}},
			Metadata: thinpool.Space{Total: 2 * units.GiB, Used: 10 * units.MiB,
				File: &loopback.FileUsage{Apparent: 2 * units.GiB, Allocated: 12 * units.MiB}},
			Host:    &loopback.Space{Total: 500 * units.GiB, Free: 200 * units.GiB, Available: 180 * units.GiB},
			Volumes: 9, Virtual: 250 * units.GiB, Tombstones: 1,
		},
		Layers: 4, Containers: 2, Images: 1,
		Volumes: []metrics.Volume{
			{Kind: metrics.KindVolume, Name: "web", ID: 7, Virtual: 20 * units.GiB, Mapped: &mapped},
			{Kind: metrics.KindContainer, Name: "web", ID: 8, Virtual: 10 * units.GiB},
			{Kind: metrics.KindContainer, Name: "new", ID: 9, Virtual: 10 * units.GiB},
		},
		Limits:     map[metrics.Space]units.Bytes{metrics.Data: 200 * units.GiB},
		Forecast:   map[metrics.Space]time.Duration{metrics.Data: 5 * time.Hour},
		Conditions: []string{"leak", "removal-waiting"},
		Scan: &metrics.Scan{At: noon().Add(-time.Hour), Took: 250 * time.Millisecond, Usage: thinpool.Usage{
			Total: 100 * units.GiB, Used: 39 * units.GiB, Exclusive: 30 * units.GiB, Shared: 9 * units.GiB, Unmapped: 64 * units.KiB,
			Volumes: []thinpool.VolumeUsage{
				{Thin: thinpool.Thin{ID: 7, Name: "web"}, Mapped: 4 * units.GiB, Exclusive: 3 * units.GiB, Shared: units.GiB},
				{Thin: thinpool.Thin{ID: 8, Name: "container-8"}, Mapped: 2 * units.GiB, Exclusive: units.GiB, Shared: units.GiB},
				{Thin: thinpool.Thin{ID: 3, Name: "layer-3"}, Mapped: 9 * units.GiB, Shared: 9 * units.GiB},
				{Thin: thinpool.Thin{ID: 77}, Mapped: 128 * units.KiB, Exclusive: 128 * units.KiB},
			},
		}},
	}
	disks := vault
	disks.Pool, disks.Limits, disks.Forecast, disks.Conditions, disks.Volumes = "disks", nil, nil, nil, nil
	disks.Status.Record.Data.Loop, disks.Status.Host = false, nil
	disks.Status.Data.File, disks.Status.Metadata.File = nil, nil
	disks.Status.Kernel = dm.PoolStatus{
		TransactionID: 3, HeldRoot: 99, Mode: dm.ModeOutOfDataSpace, ErrorIfNoSpace: true, NeedsCheck: true,
	}
	disks.Scan = &metrics.Scan{At: noon().Add(-time.Minute), Took: time.Second, Err: errors.New("held by another program")}
	failed := disks
	failed.Pool, failed.Status.Kernel, failed.Scan = "failed", dm.PoolStatus{Mode: dm.ModeFail}, nil
	failed.Status.Data.Used, failed.Status.Metadata.Used = 0, 0
	failed.Err = errors.New("the metadata cannot be read") // images and layers were not counted
	off := failed
	off.Pool, off.Status.Active, off.Status.Kernel, off.Err = "off", false, dm.PoolStatus{}, nil
	gone := metrics.Sample{
		Pool: "gone", At: noon().Add(-time.Second), Took: time.Millisecond,
		Err: errors.New("not found"), Conditions: []string{"pool-gone"},
	}
	return sampleList{vault, disks, failed, off, gone}
}

func newMetrics(source metrics.Source) *metrics.Metrics {
	m := metrics.New(source, metrics.Options{VolumeLimit: 100, Now: noon, Version: "v1.2.3"})
	m.Extended("vault", metrics.Data, 20*units.GiB, metrics.Done)
	m.Extended("vault", metrics.Data, 20*units.GiB, metrics.AtMaximum)
	m.Event("vault")
	m.Event("vault")
	m.Snapshotter("k8s", "vault", true)
	m.Snapshotter("old", "gone", false)
	m.Request("k8s", "Prepare")("OK")
	m.Request("k8s", "Prepare")("ResourceExhausted")
	m.Request("k8s", "Usage")
	return m
}

// thinctlLines returns the lines of thinctl's own metrics, with a constant version of Go.
func thinctlLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "); strings.HasPrefix(name, "thinctl_") {
			b.WriteString(regexp.MustCompile(`goversion="[^"]*"`).ReplaceAllString(line, `goversion="go1.x"`))
		}
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the metrics differ; run the test with -update, then git diff\ngot:\n%s", path, got)
	}
}

// A scrape of pools in all states, and their text file, are as in testdata.
func TestGolden(t *testing.T) {
	golden(t, "scrape.prom", thinctlLines(scrape(t, newMetrics(pools()))))
	var b bytes.Buffer
	if err := metrics.WriteText(&b, pools(), metrics.Options{VolumeLimit: 100, Now: noon, Version: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "textfile.prom", thinctlLines(b.String()))
	if strings.Count(b.String(), "\n") != strings.Count(thinctlLines(b.String()), "\n") {
		t.Errorf("text file: got metrics of others in it:\n%s", b.String())
	}
}

// newActiveMetrics returns metrics with all families, including those of operations.
func newActiveMetrics(t *testing.T) *metrics.Metrics {
	m := newMetrics(pools())
	m.Operation("extend")(nil)
	m.Operation("scan")(errors.New("no"))
	return m
}

// Each exported metric is documented with its type and labels, each documented one is
// exported, and the names follow Prometheus's rules.
func TestNames(t *testing.T) {
	families, err := newActiveMetrics(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	exported := map[string]string{}
	values := map[string][]string{}
	for _, label := range metrics.Labels() {
		values[label.Name] = append([]string{""}, label.Values...)
	}
	for _, family := range families {
		name := family.GetName()
		if strings.HasPrefix(name, "process_") {
			continue
		}
		var labels []string
		for _, pair := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				all := values[pair.GetName()]
				if all == nil || len(all) > 1 && !slices.Contains(all, pair.GetValue()) {
					t.Errorf("%s: label %s=%q is not documented", name, pair.GetName(), pair.GetValue())
				}
			}
		}
		exported[name] = fmt.Sprint(strings.ToLower(family.GetType().String()), labels)
		if !strings.HasPrefix(name, "thinctl_") || strings.Contains(name, "percent") || strings.Contains(name, "blocks") {
			t.Errorf("%s: want a name with the prefix thinctl_, without percent and blocks", name)
		}
	}
	for _, doc := range metrics.Docs() {
		labels := slices.Sorted(slices.Values(doc.Labels))
		if got := exported[doc.Name]; got != fmt.Sprint(doc.Type, labels) {
			t.Errorf("%s: got %q exported, want %s with %v", doc.Name, got, doc.Type, labels)
		}
		if doc.Unit != "" && !strings.Contains(doc.Name, "_"+doc.Unit) || !strings.HasSuffix(doc.Help, ".") {
			t.Errorf("got %+v, want the unit in the name, and a help text that ends with a full stop", doc)
		}
		delete(exported, doc.Name)
	}
	if len(exported) > 0 {
		t.Errorf("metrics without documentation: got %v, want none", exported)
	}
}

// sourceFunc is a function as a source.
type sourceFunc func() []metrics.Sample

func (a sourceFunc) Samples() []metrics.Sample { return a() }

// Counters begin with zero, add up, and are dropped with their pool.
func TestCounters(t *testing.T) {
	samples := pools()[:1]
	m := metrics.New(sourceFunc(func() []metrics.Sample { return samples }), metrics.Options{})
	want := func(line string) {
		t.Helper()
		if text := scrape(t, m); !strings.Contains(text, line+"\n") {
			t.Errorf("want %s, got\n%s", line, text)
		}
	}
	want(`thinctl_pool_extensions_total{pool="vault",result="failed",space="metadata"} 0`)
	want(`thinctl_pool_events_total{pool="vault"} 0`)
	for range 3 {
		m.Extended("vault", metrics.Metadata, 10, metrics.Done)
		m.Extended("vault", metrics.Metadata, 10, metrics.Refused)
		m.Event("other") // it has no sample yet
	}
	want(`thinctl_pool_extensions_total{pool="vault",result="done",space="metadata"} 3`)
	want(`thinctl_pool_extensions_total{pool="vault",result="refused",space="metadata"} 3`)
	want(`thinctl_pool_extended_bytes_total{pool="vault",space="metadata"} 30`)
	want(`thinctl_pool_events_total{pool="other"} 3`)
	samples = nil
	m.Forget("vault")
	if text := scrape(t, m); strings.Contains(text, "vault") {
		t.Errorf("after Forget: got the pool in\n%s", text)
	}
	for range 2 {
		m.Operation("trim")(nil)
	}
	m.Operation("trim")(errors.New("no"))
	want(`thinctl_operations_total{operation="trim",result="ok"} 2`)
	want(`thinctl_operations_total{operation="trim",result="error"} 1`)
	want(`thinctl_operation_duration_seconds_count{operation="trim",result="ok"} 2`)
}

// The counters of a snapshotter begin with zeros, and are dropped with it.
func TestRequests(t *testing.T) {
	m := metrics.New(pools()[:1], metrics.Options{Now: noon})
	m.Snapshotter("k8s", "vault", false)
	m.Snapshotter("k8s", "vault", true)
	m.Snapshotter("docker", "vault", true)
	ended := m.Request("k8s", "Commit")
	text := scrape(t, m)
	for _, line := range []string{
		`thinctl_snapshotter_ready{pool="vault",snapshotter="k8s"} 1`,
		`thinctl_snapshotter_in_flight_requests{snapshotter="k8s"} 1`,
		`thinctl_snapshotter_in_flight_requests{snapshotter="docker"} 0`,
		`thinctl_snapshotter_requests_total{grpc_code="OK",method="Commit",snapshotter="k8s"} 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("want %s, got\n%s", line, text)
		}
	}
	ended("NotFound")
	m.ForgetSnapshotter("docker")
	text = scrape(t, m)
	for _, line := range []string{
		`thinctl_snapshotter_in_flight_requests{snapshotter="k8s"} 0`,
		`thinctl_snapshotter_requests_total{grpc_code="NotFound",method="Commit",snapshotter="k8s"} 1`,
		`thinctl_snapshotter_request_duration_seconds_count{method="Commit",snapshotter="k8s"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("want %s, got\n%s", line, text)
		}
	}
	if strings.Contains(text, "docker") {
		t.Errorf("after ForgetSnapshotter: got the snapshotter in\n%s", text)
	}
}

// A series with a label that is not UTF-8 is left out and counted. The others are served.
func TestOddLabels(t *testing.T) {
	samples := pools()[:1]
	samples[0].Status.Dir = "/odd/\xff\"\n"
	samples[0].Conditions = []string{"\xff"}
	m := metrics.New(samples, metrics.Options{})
	scrape(t, m)
	text := scrape(t, m)
	for _, line := range []string{
		`dir="/odd/?\"\n"`, `thinctl_pool_active{pool="vault"} 1`,
		`promhttp_metric_handler_errors_total{cause="gathering"} 1`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("want %s, got\n%s", line, text)
		}
	}
}

// The gatherer can be combined with others.
func TestInOtherRegistries(t *testing.T) {
	other := prometheus.NewRegistry()
	other.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "other", Help: "Other."}))
	both := prometheus.Gatherers{other, newMetrics(pools()).Gatherer()}
	n, err := testutil.GatherAndCount(both, "other", "thinctl_pool_sample_success")
	if err != nil || n != 6 {
		t.Errorf("got %d series, %v, want 6", n, err)
	}
}

type sampleList []metrics.Sample

func (f sampleList) Samples() []metrics.Sample { return f }

func scrape(t testing.TB, m *metrics.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != 200 {
		t.Fatalf("scrape: got %d, want 200: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}
