package daemon

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"thinctl/internal/config"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

const (
	mi = units.MiB
	gi = units.GiB
)

func TestDecide(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	percent := func(at, step int, maximum units.Bytes) rule {
		return rule{config.Threshold{Percent: at}, config.Step{Percent: step}, maximum, time.Minute}
	}
	ago := func(d time.Duration, result string) attempt {
		a := attempt{at: now.Add(-d), result: result}
		if result != metrics.Done {
			a.err = errors.New("no")
		}
		return a
	}
	file := func(used, total, available units.Bytes) space { return space{used, total, mi, available, true} }
	device := func(used, total, available units.Bytes) space { return space{used, total, mi, available, false} }
	for _, test := range []struct {
		name string
		s    space
		r    rule
		last attempt
		want decision
	}{
		{"unknown size", file(0, 0, gi), percent(80, 20, 0), attempt{}, decision{}},
		{"below", file(799*mi, 1000*mi, gi), percent(80, 20, 0), attempt{}, decision{}},
		{"at the threshold", file(800*mi, 1000*mi, gi), percent(80, 20, 0), attempt{}, decision{true, 1200 * mi, ""}},
		{"several steps", file(1000*mi, 1000*mi, gi), percent(50, 50, 0), attempt{}, decision{true, 2024 * mi, ""}},
		{
			"bytes free", file(900*mi, 1000*mi, gi), rule{config.Threshold{Free: 100 * mi}, config.Step{Size: 64 * mi}, 0, 0},
			attempt{}, decision{true, 1064 * mi, ""},
		},
		{"whole units", file(81*mi, 101*mi, gi), percent(80, 20, 0), attempt{}, decision{true, 122 * mi, ""}},
		{"up to the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 1100*mi+5), attempt{}, decision{true, 1100 * mi, ""}},
		{"at the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 1000*mi), attempt{}, decision{true, 0, metrics.AtMaximum}},
		{"less than a unit below the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 1001*mi-1), attempt{}, decision{true, 0, metrics.AtMaximum}},
		{"beyond the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 10*mi), attempt{}, decision{true, 0, metrics.AtMaximum}},
		{"at the maximum, below the threshold", file(100*mi, 1000*mi, gi), percent(80, 20, 1000*mi), attempt{}, decision{}},
		{"little space on the host", file(900*mi, 1000*mi, 50*mi+1), percent(80, 20, 0), attempt{}, decision{true, 1050 * mi, ""}},
		{"no space on the host", file(900*mi, 1000*mi, mi-1), percent(80, 20, 0), attempt{}, decision{true, 0, metrics.NoHostSpace}},
		{"a device's end", device(900*mi, 1000*mi, 0), percent(80, 20, 0), attempt{}, decision{true, 0, metrics.Refused}},
		{"a larger device", device(900*mi, 1000*mi, 30*mi), percent(80, 20, 0), attempt{}, decision{true, 1030 * mi, ""}},
		{"just extended", file(850*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Second, metrics.Done), decision{passed: true}},
		{"a minute ago", file(850*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Minute, metrics.Done), decision{true, 1200 * mi, ""}},
		{"just extended, nearly full", file(901*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Second, metrics.Done), decision{true, 1200 * mi, ""}},
		{"just failed, nearly full", file(990*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Second, metrics.Failed), decision{passed: true}},
		{"failed a minute ago", file(990*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Minute, metrics.Failed), decision{true, 1440 * mi, ""}},
		{"was at the maximum a moment ago", file(850*mi, 1000*mi, gi), percent(80, 20, 0), attempt{at: now, result: metrics.AtMaximum}, decision{true, 1200 * mi, ""}},
	} {
		if got := decide(test.s, test.r, test.last, now); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

// Any space grows in whole units, not beyond the maximum and the available size, and far
// enough to be below the threshold if these allow it.
func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := func(name string, least, most units.Bytes) units.Bytes {
			return units.Bytes(rapid.Uint64Range(uint64(least), uint64(most)).Draw(t, name))
		}
		unit := units.Bytes(1) << rapid.IntRange(12, 20).Draw(t, "unit")
		s := space{
			total: bytes("total", 1, 1<<20) * unit, unit: unit, available: bytes("available", 0, 1<<45),
			file: rapid.Bool().Draw(t, "file"),
		}
		s.used = bytes("used", 0, s.total)
		r := rule{
			config.Threshold{Percent: rapid.IntRange(1, 99).Draw(t, "at")},
			config.Step{Percent: rapid.IntRange(1, 1000).Draw(t, "step")},
			bytes("maximum", 0, 1<<45), time.Minute,
		}
		d := decide(s, r, attempt{}, time.Unix(1, 0))
		more := (r.maximum == 0 || d.to+unit <= r.maximum) && d.to-s.total+unit <= s.available
		switch {
		case d.passed != r.at.Passed(s.used, s.total):
			t.Fatalf("passed: got %t, want the opposite", d.passed)
		case !d.passed && d != decision{}:
			t.Fatalf("below the threshold: got %+v, want no decision", d)
		case d.passed && (d.to == 0) == (d.blocked == ""):
			t.Fatalf("got %+v, want either a size or a reason", d)
		case d.to == 0:
			return
		case d.to <= s.total || d.to%unit != 0:
			t.Fatalf("from %d to %d, want more in units of %d", s.total, d.to, unit)
		case r.maximum != 0 && d.to > r.maximum, d.to-s.total > s.available:
			t.Fatalf("from %d to %d, want at most %d and %d more", s.total, d.to, r.maximum, s.available)
		case r.at.Passed(s.used, d.to) && more:
			t.Fatalf("from %d to %d, want a size below the threshold", s.total, d.to)
		}
	})
}

func TestAvailable(t *testing.T) {
	status := func(available, apparent, allocated units.Bytes) thinpool.Status {
		return thinpool.Status{
			Record: thinpool.PoolRecord{
				Block: 64 * units.KiB, Reserve: thinpool.Reserve{Host: 5},
				Data: thinpool.Backing{Loop: true}, Metadata: thinpool.Backing{Loop: true},
			},
			Data:     thinpool.Space{Total: apparent, File: &loopback.FileUsage{Apparent: apparent, Allocated: allocated}},
			Metadata: thinpool.Space{Total: gi, File: &loopback.FileUsage{Apparent: gi, Allocated: gi}},
			Host:     &loopback.Space{Total: 100 * gi, Available: available},
		}
	}
	for _, test := range []struct {
		name           string
		s              thinpool.Status
		data, metadata units.Bytes
	}{
		{"no holes", status(50*gi, 10*gi, 10*gi), 45 * gi, metadataLimit - gi},
		{"holes of 20G", status(50*gi, 30*gi, 10*gi), 25 * gi, metadataLimit - gi},
		{"holes larger than the free space", status(50*gi, 100*gi, 10*gi), 0, 0},
		{"metadata uses the reserve", status(3*gi, 10*gi, 10*gi), 0, 3*gi - 16*mi},
		{"a full host", status(0, 10*gi, 10*gi), 0, 0},
	} {
		data, metadata := dataSpace(test.s, 0), metadataSpace(test.s, 0)
		if data.available != test.data || metadata.available != test.metadata {
			t.Errorf("%s: got %s for data and %s for metadata, want %s and %s",
				test.name, data.available, metadata.available, test.data, test.metadata)
		}
	}
	onDisks := thinpool.Status{
		Record: thinpool.PoolRecord{Block: mi}, Data: thinpool.Space{Total: 10 * gi}, Metadata: thinpool.Space{Total: gi},
	}
	if got := dataSpace(onDisks, 12*gi).available; got != 2*gi {
		t.Errorf("a device with 2G more: got %s, want 2G", got)
	}
	if got := dataSpace(onDisks, 0).available; got != 0 {
		t.Errorf("a missing device: got %s, want 0", got)
	}
}

func TestFailWhenFull(t *testing.T) {
	status := func(available units.Bytes, loop, asked bool) thinpool.Status {
		s := thinpool.Status{Record: thinpool.PoolRecord{
			ErrorIfFull: asked, Reserve: thinpool.Reserve{Host: 5}, Data: thinpool.Backing{Loop: loop},
		}}
		if loop {
			s.Host = &loopback.Space{Total: 100 * gi, Available: available}
		}
		return s
	}
	for _, test := range []struct {
		name          string
		s             thinpool.Status
		failing, want bool
	}{
		{"space on the host", status(50*gi, true, false), false, false},
		{"created with it", status(50*gi, true, true), true, true},
		{"created with it, and changed by hand", status(50*gi, true, true), false, true},
		{"less than the reserve", status(5*gi-1, true, false), false, true},
		{"a little more than the reserve", status(5*gi+1, true, false), false, false},
		{"a little more than the reserve, failing", status(5*gi+1, true, false), true, true},
		{"space on the host again", status(6*gi, true, false), true, false},
		{"a pool on disks", status(0, false, false), false, false},
		{"a pool on disks that fails", status(0, false, false), true, false},
	} {
		if got := failWhenFull(test.s, test.failing); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
	}
}
