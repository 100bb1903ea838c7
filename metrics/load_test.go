package metrics_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// many returns 20 pools with 10,000 volumes in all. Half of them are containers, and all
// are scanned and active.
func many() sampleList {
	var samples sampleList
	model := pools()[0]
	for pool := range 20 {
		s := model
		s.Pool = fmt.Sprintf("pool-%02d", pool)
		s.Volumes, s.Scan = nil, &metrics.Scan{At: s.At, Took: time.Second, Usage: thinpool.Usage{Total: 100 * units.GiB}}
		for id := range uint32(500) {
			kind, mapped := []string{metrics.KindVolume, metrics.KindContainer}[id%2], units.Bytes(id)*units.MiB
			s.Volumes = append(s.Volumes, metrics.Volume{
				Kind: kind, Name: fmt.Sprintf("some-name-%03d", id), ID: id, Virtual: 10 * units.GiB, Mapped: &mapped,
			})
			s.Scan.Usage.Volumes = append(s.Scan.Usage.Volumes, thinpool.VolumeUsage{
				Thin: thinpool.Thin{ID: id, Name: "x"}, Mapped: mapped, Exclusive: mapped / 2, Shared: mapped / 2})
		}
		samples = append(samples, s)
	}
	return samples
}

// discard is a response writer that only counts the bytes.
type discard struct {
	header http.Header
	bytes  int
}

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) WriteHeader(int)                   {}
func (d *discard) Write(b []byte) (int, error)       { d.bytes += len(b); return len(b), nil }
func (d *discard) WriteString(s string) (int, error) { d.bytes += len(s); return len(s), nil }

var _ io.StringWriter = (*discard)(nil)

func serve(h http.Handler, encoding string) int {
	to, request := &discard{header: http.Header{}}, httptest.NewRequest("GET", "/metrics", nil)
	request.Header.Set("Accept-Encoding", encoding)
	h.ServeHTTP(to, request)
	return to.bytes
}

// A scrape of many volumes allocates a bounded amount of memory, and keeps none.
func TestFlatMemory(t *testing.T) {
	for _, test := range []struct {
		limit  int
		series int
		bound  uint64 // bytes for each series
	}{{metrics.DefaultVolumeLimit, 20 * 50, 4096}, {500, 4 * 10000, 768}} {
		m := metrics.New(many(), metrics.Options{VolumeLimit: test.limit})
		text := scrape(t, m)
		if n := strings.Count(text, "\nthinctl_"); n < test.series {
			t.Errorf("limit %d: got %d series, want at least %d", test.limit, n, test.series)
		}
		handler := m.Handler()
		serve(handler, "")
		took, left := allocated(func() {
			for range 10 {
				serve(handler, "")
			}
		})
		if took/10 > test.bound*uint64(test.series) {
			t.Errorf("limit %d: got %s allocated by a scrape, want at most %s",
				test.limit, units.Bytes(took/10), units.Bytes(test.bound)*units.Bytes(test.series))
		}
		if left > 1<<20 {
			t.Errorf("limit %d: got %s in use after ten scrapes, want at most 1M", test.limit, units.Bytes(left))
		}
		t.Logf("limit %d: %s of memory for %s of text", test.limit, units.Bytes(took/10), units.Bytes(len(text)))
	}
}

// allocated returns the bytes that do allocates, and those that are still in use then.
func allocated(do func()) (took uint64, left int64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	do()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// BenchmarkScrape scrapes 20 pools with 10,000 volumes in all: without volumes, with
// volumes, and with volumes and compression as for Prometheus.
func BenchmarkScrape(b *testing.B) {
	for _, c := range []struct {
		name     string
		limit    int
		encoding string
	}{{"pools", metrics.DefaultVolumeLimit, ""}, {"volumes", 500, ""}, {"volumes-gzip", 500, "gzip"}} {
		b.Run(c.name, func(b *testing.B) {
			handler := metrics.New(many(), metrics.Options{VolumeLimit: c.limit}).Handler()
			serve(handler, c.encoding)
			b.ReportAllocs()
			for b.Loop() {
				b.ReportMetric(float64(serve(handler, c.encoding)), "bytes")
			}
		})
	}
}
