//go:build systemd

package oncall

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/docs/runbooks"
	"thinctl/tests/drills"
)

const alert = "ThinctlAtMaximum"

// promptly is the number of seconds that a page may take through Alertmanager: two minutes
// of the files' time.
const promptly = 10

// filling is a pool that is written to until it may not grow, and the operator's response.
type filling struct {
	name, pool, space string
	title             string
	maximum           float64
	volume            string // its size
	load              []string
	bytes             int64 // that fio writes
	// more is called now and then, to fill what writes alone do not; nil if there is
	// nothing.
	more func(t *testing.T, n int)

	vars  map[string]string
	cases []string

	// Times in seconds of the watch: the load began, the page arrived, the runbook was
	// opened and finished, the all-clear arrived, the load ended, all was quiet.
	began, fired, opened, followed, cleared, loadEnded, ended float64

	extended int // times, before the page
	pasted   []int
	often    int       // that more was called
	lately   time.Time // when
	spoke    time.Time // when the log last got the progress
}

func dataFilling() *filling {
	const mebibytes = 520
	return &filling{
		name: "data", pool: "vault", space: "data", maximum: 384 << 20, volume: "1G",
		title: "Data of a pool that is written to at 2 MiB/s",
		load:  []string{"--rw=write", "--bs=64k", fmt.Sprintf("--size=%dM", mebibytes), "--fallocate=none", "--rate=,2m"},
		bytes: mebibytes << 20,
		vars:  map[string]string{"POOL": "vault", "MORE": "192M", "KEY": "data_maximum", "MAXIMUM": "768M"},
		cases: []string{"The pool may have more data", "The maximum is the pool's own", "The maximum was raised"},
	}
}

// metadataFilling takes snapshots of a volume that is written to everywhere. Each makes the
// kernel keep another copy of the volume's mappings.
func metadataFilling() *filling {
	const writes = 16000
	return &filling{
		name: "metadata", pool: "index", space: "metadata", maximum: 3 << 20, volume: "768M",
		title: "Metadata of a pool with scattered writes and ever more snapshots",
		load: []string{"--rw=randwrite", "--bs=4k", "--size=512M", fmt.Sprintf("--io_size=%dk", 4*writes),
			"--fallocate=posix", "--rate_iops=,40"},
		bytes: 4096 * writes,
		more: func(t *testing.T, n int) {
			thinctl(t, fmt.Sprintf("volume snapshot index load snapshot%d", n))
		},
		vars:  map[string]string{"POOL": "index", "MORE_METADATA": "512K", "KEY": "metadata_maximum", "MAXIMUM": "6M"},
		cases: []string{"The pool may have more metadata", "The maximum is that of all pools", "The maximum was raised"},
	}
}

func (f *filling) run(t *testing.T, w *watch) {
	thinctl(t, "volume create "+f.pool+" load --fs ext4 --size "+f.volume)
	dir := strings.TrimSpace(thinctl(t, "volume mount "+f.pool+" load"))
	f.began = w.now()
	l := startLoad(t, dir, f.load...)
	t.Cleanup(func() {
		if t.Failed() {
			status, _ := try(context.Background(), "thinctl", "pool", "status", f.pool)
			t.Logf("notices: %+v\n%s", w.received(f.pool), status)
		}
	})
	f.extends(t, w, l)
	f.page(t, w, l)
	f.follow(t, w)
	f.clears(t, w, l)
	f.again(t, w, l)
	l.finish(t, f.bytes, 20*time.Minute)
	f.loadEnded = w.now()
	// No page may stay. A forecast, which is a warning, looks further ahead than this night
	// is long.
	await(t, "an all-clear for every page", 2*time.Minute, func() bool {
		return len(w.query(t, fmt.Sprintf(`ALERTS{pool=%q,alertstate="firing",severity="critical"}`, f.pool))) == 0
	})
	f.ended = w.now() + 5
	await(t, "the picture's end", 30*time.Second, func() bool { return w.now() > f.ended })
	t.Logf("notices: %+v", w.received(f.pool))
}

// extends waits until the pool has grown to the maximum, and requires that no page is sent
// in the meantime.
func (f *filling) extends(t *testing.T, w *watch, l *load) {
	t.Helper()
	f.until(t, w, l, "the maximum", 12*time.Minute, func() bool { return f.size(t, w) >= f.maximum })
	t.Logf("at the maximum after %.0f s, extended %d times", w.now()-f.began, f.extensions(t, w))
	if size := f.size(t, w); size != f.maximum {
		t.Errorf("size of the %s: got %.0f, want at most %.0f", f.space, size, f.maximum)
	}
	if n := f.extensions(t, w); n < 2 {
		t.Errorf("got %d extensions", n)
	}
	pages := slices.DeleteFunc(w.received(f.pool), func(n notice) bool { return n.Severity != "critical" })
	if len(pages) > 0 {
		t.Errorf("got pages while the pool could grow: %+v, want none", pages)
	}
}

// page waits for the alert, which names the runbook.
func (f *filling) page(t *testing.T, w *watch, l *load) {
	t.Helper()
	f.until(t, w, l, alert, 10*time.Minute, func() bool { return w.last(f.pool, alert).Status == "firing" })
	n := w.last(f.pool, alert)
	f.fired, f.extended = n.At, f.extensions(t, w)
	t.Logf("paged after %.0f s: %+v", f.fired-f.began, n)
	explain := regexp.MustCompile(`^thinctl explain (\S+) \(docs/runbooks/(\S+)\.md\)$`).FindStringSubmatch(n.Runbook)
	if explain == nil || explain[1] != n.Code || explain[2] != n.Code || n.Severity != "critical" {
		t.Fatalf("page: got %+v", n)
	}
	if text, _ := runbooks.Text(n.Code); thinctl(t, "explain "+n.Code) != text {
		t.Errorf("`thinctl explain %s` is not the runbook", n.Code)
	}
	if firing := f.firing(t, w, 0); len(firing) > 0 && f.fired-firing[0][0] > promptly {
		t.Errorf("the page came %.0f s after the alert began to fire", f.fired-firing[0][0])
	}
	if size := f.size(t, w); size != f.maximum {
		t.Errorf("the %s grew beyond the maximum to %.0f bytes", f.space, size)
	}
}

func (f *filling) follow(t *testing.T, w *watch) {
	t.Helper()
	w.desk.Lock()
	defer w.desk.Unlock()
	f.opened = w.now()
	lines, err := drills.Drill{Runbook: w.last(f.pool, alert).Code, Vars: f.vars, Cases: f.cases}.Follow(t.Context(),
		t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	f.pasted, f.followed = lines, w.now()
	t.Logf("the runbook took %.0f s", f.followed-f.opened)
}

func (f *filling) clears(t *testing.T, w *watch, l *load) {
	t.Helper()
	f.until(t, w, l, "the all-clear", 2*time.Minute, func() bool { return w.last(f.pool, alert).Status == "resolved" })
	f.cleared = w.last(f.pool, alert).At
	t.Logf("all clear %.0f s after the page", f.cleared-f.fired)
}

// again requires that the daemon extends again with the new maximum.
func (f *filling) again(t *testing.T, w *watch, l *load) {
	t.Helper()
	f.until(t, w, l, "an extension beyond the old maximum", 10*time.Minute,
		func() bool { return f.extensions(t, w) > f.extended })
	t.Logf("extended again after %.0f s, to %.0f bytes", w.now()-f.began, f.size(t, w))
}

// until waits while the load continues.
func (f *filling) until(t *testing.T, w *watch, l *load, what string, patience time.Duration, there func() bool) {
	t.Helper()
	await(t, what, patience, func() bool {
		if !l.running() {
			t.Fatalf("%s: the load has ended before it", what)
		}
		if f.more != nil && time.Since(f.lately) > 4*time.Second {
			f.more(t, f.often)
			f.often, f.lately = f.often+1, time.Now()
		}
		if time.Since(f.spoke) > 20*time.Second {
			f.spoke = time.Now()
			t.Logf("%.0f s: %.0f of %.0f KiB, %d snapshots", w.now()-f.began, f.used(t, w)/1024, f.size(t, w)/1024, f.often)
		}
		return there()
	})
}

func (f *filling) size(t *testing.T, w *watch) float64 {
	t.Helper()
	return f.value(t, w, fmt.Sprintf("thinctl_pool_%s_size_bytes{pool=%q}", f.space, f.pool))
}

func (f *filling) used(t *testing.T, w *watch) float64 {
	t.Helper()
	return f.value(t, w, fmt.Sprintf("thinctl_pool_%s_used_bytes{pool=%q}", f.space, f.pool))
}

func (f *filling) extensions(t *testing.T, w *watch) int {
	t.Helper()
	return int(f.value(t, w, fmt.Sprintf("thinctl_pool_extensions_total{pool=%q,space=%q,result=\"done\"}", f.pool,
		f.space)))
}

func (f *filling) value(t *testing.T, w *watch, expr string) float64 {
	t.Helper()
	found := w.query(t, expr)
	if len(found) == 0 {
		return 0
	}
	return number(found[0].Value[1])
}

// picture draws the filling as Prometheus recorded it.
func (f *filling) picture(t *testing.T, w *watch) Picture {
	t.Helper()
	from := max(0, f.began-5)
	p := Picture{Name: "oncall-" + f.name, Title: f.title, Until: f.ended - from}
	metric := func(name string) string { return fmt.Sprintf("thinctl_pool_%s{pool=%q}", name, f.pool) }
	add := func(name string, style Style, expr string) {
		line := Line{Name: name, Style: style}
		for _, s := range w.span(t, expr, from, f.ended) {
			for _, v := range s.Values {
				line.At = append(line.At, number(v[0])-float64(w.began.UnixMilli())/1000-from)
				line.Bytes = append(line.Bytes, number(v[1]))
			}
		}
		if len(line.At) < 10 {
			t.Errorf("got %d values of %s", len(line.At), expr)
		}
		p.Lines = append(p.Lines, line)
	}
	add("used", Filled, metric(f.space+"_used_bytes"))
	add("size", Solid, metric(f.space+"_size_bytes"))
	add("maximum", Dashed, fmt.Sprintf("thinctl_pool_maximum_bytes{pool=%q,space=%q}", f.pool, f.space))
	if f.space == "data" {
		add("low water: the kernel's event", Dotted, metric("data_size_bytes")+" - "+metric("low_water_bytes"))
	}
	p.Rows = []Row{
		{Name: "fio writes, verifies", Spans: [][2]float64{{f.began - from, f.loadEnded - from}}},
		{Name: "extended", Moments: f.rises(t, w, from)},
		{Name: "alert at-maximum", Urgent: true, Spans: f.firing(t, w, from)},
		{Name: "pager: firing", Urgent: true, Moments: []float64{f.fired - from}},
		{Name: "runbook is followed", Spans: [][2]float64{{f.opened - from, f.followed - from}}},
		{Name: "pager: resolved", Moments: []float64{f.cleared - from}},
	}
	return p
}

// rises returns the times at which the daemon extended.
func (f *filling) rises(t *testing.T, w *watch, from float64) (at []float64) {
	t.Helper()
	for _, s := range w.span(t,
		fmt.Sprintf("thinctl_pool_extensions_total{pool=%q,space=%q,result=\"done\"}", f.pool, f.space), from, f.ended) {
		last := 0.0
		for _, v := range s.Values {
			if n := number(v[1]); n > last {
				last = n
				at = append(at, number(v[0])-float64(w.began.UnixMilli())/1000-from)
			}
		}
	}
	return at
}

// firing returns the times at which the alert fired, as Prometheus recorded them.
func (f *filling) firing(t *testing.T, w *watch, from float64) (spans [][2]float64) {
	t.Helper()
	for _, s := range w.span(t, fmt.Sprintf(`ALERTS{alertname=%q,pool=%q,alertstate="firing"}`, alert, f.pool), from,
		w.now()) {
		for _, v := range s.Values {
			at := number(v[0]) - float64(w.began.UnixMilli())/1000 - from
			if n := len(spans); n > 0 && at-spans[n-1][1] < 3 {
				spans[n-1][1] = at
			} else {
				spans = append(spans, [2]float64{at, at})
			}
		}
	}
	if len(spans) == 0 {
		t.Error("Prometheus has no series of the alert")
	}
	return spans
}
